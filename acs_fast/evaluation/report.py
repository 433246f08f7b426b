"""A model's robustness as text, a file and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from acs_fast.training import checkpoint

RULE = "-"


def text(result: dict[str, Any]) -> str:
    """Accuracy under each attack, accuracy against eps, and what was suspicious or left out."""
    parts = [_heading(result), "", _columns(_attacks(result)), "", _columns(_curve(result)), "", *_notes(result)]
    return "\n".join(parts)


def write(result: dict[str, Any], folder: Path) -> tuple[list[Path], str | None]:
    """evaluation.json and evaluation.png; returns what was written, and why there is no picture where there is none."""
    file, picture = folder / "evaluation.json", folder / "evaluation.png"
    checkpoint.write_json(file, result)
    reason = draw(result, picture)
    return ([file, picture] if reason is None else [file]), reason


def draw(result: dict[str, Any], path: Path) -> str | None:
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
        axes.plot([eps], [100 * result["autoattack"]["robust"]], "s", label="AutoAttack (standard)")
    axes.axvline(eps, color="grey", linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"eps ({norm}, pixels of [0, 1]); dotted: eps {eps:.4g}")
    axes.set_ylabel("Robust test accuracy (%)")
    axes.set_title(f"{result['data']}, {result['images']['attacked']} test images", fontsize=11)
    axes.set_ylim(0.0, 100.0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    return None


def _heading(result: dict[str, Any]) -> str:
    images = result["images"]
    return (
        f"{result['checkpoint']} (epoch {result['epoch']}) on {result['data']}: {images['test']} test images, "
        f"{images['attacked']} attacked; {result['norm']}, eps {result['eps']:.4g}"
    )


def _attacks(result: dict[str, Any]) -> list[tuple[str, ...]]:
    seconds, ensemble = result["seconds"], result["autoattack"]
    rows = [
        ("attack", "accuracy %", "seconds"),
        ("none (all test images)", _percent(result["clean"]["all"]), f"{seconds['clean']:.1f}"),
        ("none (those attacked)", _percent(result["clean"]["attacked"]), ""),
        ("FGSM", _percent(result["fgsm"]), f"{seconds['fgsm']:.1f}"),
        (f"PGD-{result['steps']}, {result['restarts']} restarts", _percent(result["pgd"]), f"{seconds['pgd']:.1f}"),
    ]
    if ensemble["robust"] is None:
        return [*rows, ("AutoAttack (standard)", "skipped", "")]
    return [*rows, ("AutoAttack (standard)", _percent(ensemble["robust"]), f"{seconds['autoattack']:.1f}")]


def _curve(result: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = [(f"{p['eps']:.4g}", _percent(p["robust"])) for p in result["curve"]]
    return [("eps", "robust %"), *rows]


def _notes(result: dict[str, Any]) -> list[str]:
    masking, ensemble = result["masking"], result["autoattack"]
    lines = [
        f"robust: right as it is and after every restart. By eps: one start of PGD-{result['steps']} each, all "
        f"{result['restarts']} at eps {result['eps']:.4g}; what broke at a smaller eps stays broken."
    ]
    if ensemble["skipped"] is not None:
        lines.append(f"AutoAttack was skipped: {ensemble['skipped']}")
    lines += [f"AutoAttack warned: {w}" for w in ensemble.get("warnings", [])]
    if masking["suspected"]:
        lines += [f"gradient masking suspected: {sign}" for sign in masking["signs"]]
    else:
        lines.append(
            f"gradient masking: no sign of it (PGD leaves {_percent(masking['robust_at_large_eps'])} % at eps "
            f"{masking['large_eps']:.3g}, and no more than FGSM at eps {result['eps']:.4g})"
        )
    return lines


def _columns(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
             for row in rows]  # fmt: skip
    lines.insert(1, RULE * len(lines[0]))
    return "\n".join(line.rstrip() for line in lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
