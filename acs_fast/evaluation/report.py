"""A model's robustness as text and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acs_fast._util.columns import columns
from acs_fast.evaluation.autoattack import TARGETS

MOST_CLASSES = 12  # that a table lists one by one


def text(result: dict[str, Any]) -> str:
    """Accuracy under each attack, by class and group and by eps, and what was suspicious or left out.

    Args:
        result: of `evaluate`; also `class_names` in the order of the labels, where they are known.
    """
    classes = _parts(result, "classes", dict(enumerate(result.get("class_names", ()))))
    tables = [_attacks(result), _curve(result), classes, _parts(result, "groups", {})]
    return "\n\n".join([_heading(result), *(columns(table) for table in tables if table), "\n".join(_notes(result))])


def draw(result: dict[str, Any], path: Path, title: str = "") -> str | None:
    """Robust accuracy against eps; returns the reason when it cannot be drawn."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        return f"no picture: matplotlib is not installed ({error}): pip install 'acs_fast[plot]'"
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.0, 4.4), layout="constrained")
    curve, eps, norm = result["curve"], result["eps"], result["norm"]
    axes.plot([p["eps"] for p in curve], [100 * p["robust"] for p in curve], "o-", label=f"PGD-{result['steps']}")
    axes.plot([eps], [100 * result["fgsm"]], "^", label="FGSM")
    if result["autoattack"]["robust"] is not None:
        axes.plot([eps], [100 * result["autoattack"]["robust"]], "s", label="AutoAttack")
    axes.axvline(eps, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"eps ({norm}, pixels of [0, 1]); dotted: eps {eps:.4g}")
    axes.set_ylabel("Robust test accuracy (%)")
    axes.set_title(f"{title}{result['images']['attacked']} test images", fontsize=11)
    axes.set_ylim(0.0, 100.0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return None


def _heading(result: dict[str, Any]) -> str:
    images = result["images"]
    return f"{images['test']} images, {images['attacked']} attacked; {result['norm']}, eps {result['eps']:.4g}"


def _attacks(result: dict[str, Any]) -> list[tuple[str, ...]]:
    seconds, ensemble = result["seconds"], result["autoattack"]
    rows = [
        ("attack", "accuracy %", "seconds"),
        ("none (all images)", _percent(result["clean"]), f"{seconds['clean']:.1f}"),
        ("none (those attacked)", _percent(result["clean_attacked"]), ""),
        ("FGSM", _percent(result["fgsm"]), f"{seconds['fgsm']:.1f}"),
        (f"PGD-{result['steps']}, {result['restarts']} restarts", _percent(result["pgd"]), f"{seconds['pgd']:.1f}"),
    ]
    if ensemble["robust"] is None:
        return [*rows, ("AutoAttack", "skipped", "")]
    return [
        *rows, ("AutoAttack", _percent(ensemble["robust"]), f"{seconds['autoattack']:.1f}"),
        ("all of them", _percent(result["robust"]), ""),
    ]  # fmt: skip


def _curve(result: dict[str, Any]) -> list[tuple[str, ...]]:
    return [("eps", "robust %"), *((f"{p['eps']:.4g}", _percent(p["robust"])) for p in result["curve"])]


def _parts(result: dict[str, Any], name: str, called: dict[int, str]) -> list[tuple[str, ...]]:
    """Accuracy by class or group, the worst and the balanced one."""
    parts = result.get(name)
    if parts is None:
        return []
    clean, robust = parts["clean"], parts["robust"]
    rows = [(name, "clean %", "robust %")]
    if len(clean["each"]) <= MOST_CLASSES:
        each = ((called.get(k, str(k)), v, robust["each"].get(k)) for k, v in clean["each"].items())
        rows += [(part, _percent(before), _percent(after)) for part, before, after in each]
    return [*rows, *((kind, _percent(clean[kind]), _percent(robust[kind])) for kind in ("worst", "balanced"))]


def _notes(result: dict[str, Any]) -> list[str]:
    masking, ensemble, images = result["masking"], result["autoattack"], result["images"]
    lines = [
        f"robust: right as it is and after every restart. By eps: one start of PGD-{result['steps']} each, all "
        f"{result['restarts']} at eps {result['eps']:.4g}; what broke at a smaller eps stays broken."
    ]
    if images["attacked"] < images["test"]:
        lines.append("by class and group: clean of all images, robust of those attacked.")
    if ensemble["skipped"] is not None:
        lines.append(f"AutoAttack was skipped: {ensemble['skipped']}")
    elif ensemble["targets"] < TARGETS:
        lines.append(
            f"AutoAttack: its targeted attacks aim at all {ensemble['targets']} other classes, fewer than the "
            f"{TARGETS} of the standard version"
        )
    lines += [f"AutoAttack warned: {w}" for w in ensemble.get("warnings", [])]
    if masking["suspected"]:
        return lines + [f"gradient masking suspected: {sign}" for sign in masking["signs"]]
    lines.append(
        f"gradient masking: no sign of it (PGD leaves {_percent(masking['robust_at_large_eps'])} % at eps "
        f"{masking['large_eps']:.3g}, and no more than FGSM at eps {result['eps']:.4g})"
    )
    return lines


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
