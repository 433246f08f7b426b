"""How far each selector's weighted gradient is from the full one, over many draws."""

from __future__ import annotations

from acs_fast.extraction import Extraction
from acs_fast.randomness import derived_seed
from acs_fast.selection import gradient_error
from acs_fast.selectors import SELECTORS, Pool, selector


def gradient_variances(taken: Extraction, fraction: float, draws: int, seed: int) -> dict[str, float]:
    r"""Relative mean squared error of each selector's estimate of the full last-layer gradient.

    .. math:: E\,\big\|\textstyle\sum_i w_i g_i - \sum_i g_i\big\|^2 / \big\|\sum_i g_i\big\|^2

    For unbiased samplers it is the variance; for a deterministic selection the squared bias.

    Args:
        taken: gradients and labels of the whole pool.
        fraction: size of the subsets.
        draws: subsets per selector, each from another seed.
    """
    pool = Pool(len(taken.gradients), taken.labels, taken.gradients)
    found = {}
    for name in SELECTORS:
        own = selector(name)
        errors = []
        for draw in range(draws):
            chosen = own.choose(pool, fraction, derived_seed("variance", seed, draw)).coreset
            errors.append(gradient_error(taken.gradients, chosen.indices, chosen.weights))
        found[name] = sum(e * e for e in errors) / len(errors)
    return found
