"""How far the gradients of drawn coresets are from the full one."""

from __future__ import annotations

from collections.abc import Iterable

from acs_fast.coreset import Coreset
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.selection.common import gradient_error, total


def gradient_variance(gradients: LastLayerGradients, coresets: Iterable[Coreset]) -> float:
    r"""Mean squared relative error of the weighted coreset gradient over draws.

    .. math:: E_S \Big\| \sum_{i \in S} w_i g_i - \sum_i g_i \Big\|^2 \Big/ \Big\| \sum_i g_i \Big\|^2

    The same number for every way to choose: the variance of an unbiased sampler, the squared bias of a selection that
    is always the same. Exact last-layer gradients, in float64, from the factors.

    Args:
        gradients: of all N samples.
        coresets: draws; each costs one small matrix product.

    Raises:
        ValueError: no coresets.

    Example:
        >>> g = LastLayerGradients(torch.eye(2), torch.ones(2, 1))
        >>> one = Coreset(torch.tensor([0]), torch.tensor([2.0]), torch.zeros(1))
        >>> round(gradient_variance(g, [one]), 6)
        1.0
    """
    target = total(gradients)
    errors = [
        gradient_error(gradients, c.indices.to(gradients.device), c.weights.to(gradients.device), target)
        for c in coresets
    ]
    if not errors:
        raise ValueError("coresets must hold at least one draw; got none")
    return sum(e * e for e in errors) / len(errors)
