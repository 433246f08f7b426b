"""Figures from masks of images: accuracy overall, by class and by group."""

from __future__ import annotations

from typing import Any

from torch import Tensor

NEAR_ZERO = 0.05
FGSM_MARGIN = 0.005  # FGSM may break an image that PGD missed, but hardly more
SQUARE_MARGIN = 0.002  # that of AutoAttack's own check


def share(mask: Tensor) -> float:
    """The share of True, in [0, 1]."""
    return float(mask.sum()) / len(mask)


def of_parts(mask: Tensor, part: Tensor) -> dict[str, Any]:
    """The share of True in each part (class or group) with images, in the worst one, and on average over parts."""
    each = {int(p): share(mask[part == p]) for p in part.unique()}
    return {"each": each, "worst": min(each.values()), "balanced": sum(each.values()) / len(each)}


def masking(pgd: float, fgsm: float, large_eps: float, at_large_eps: float, after: dict[str, float]) -> dict[str, Any]:
    """Signs of gradients leading attacks astray, with figures flattering the model.

    Args:
        pgd, fgsm: accuracy under each.
        large_eps, at_large_eps: an eps at which nothing can be robust, and the accuracy that PGD leaves there.
        after: accuracy after each attack of AutoAttack in turn, or empty.

    Source: Carlini et al., "On Evaluating Adversarial Robustness", 2019; Croce, Hein, ICML 2020 (Square).
    """
    signs = []
    if pgd > fgsm + FGSM_MARGIN:
        signs.append(f"PGD leaves {100 * pgd:.1f} %, more than the {100 * fgsm:.1f} % of one step (FGSM)")
    if at_large_eps > NEAR_ZERO:
        signs.append(f"PGD leaves {100 * at_large_eps:.1f} % at eps {large_eps:.3g}, where it should leave almost none")
    drop = after["fab-t"] - after["square"] if {"fab-t", "square"} <= after.keys() else 0.0
    if drop > SQUARE_MARGIN:
        signs.append(f"Square, which uses no gradients, breaks {100 * drop:.1f} % that gradient attacks did not")
    return {"suspected": bool(signs), "signs": signs, "large_eps": large_eps, "robust_at_large_eps": at_large_eps}
