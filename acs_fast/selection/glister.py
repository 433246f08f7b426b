"""GLISTER: samples whose gradient step lowers the loss of the whole pool the most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from acs_fast._util.checks import check_choice, check_count, check_number
from acs_fast.coreset import Coreset
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.selection.common import gradient_error
from acs_fast.selection.groups import partition
from acs_fast.selection.selector import Choice, Pool, bare_stats


@dataclass(frozen=True)
class Glister:
    r"""Greedy by the inner product with the validation gradient, which is taken anew along the way.

    .. math:: e^* = \arg\max_e \langle g_e, \nabla L_V(\theta - \eta\, \bar g_S) \rangle

    a first-order Taylor expansion of the validation loss after a step along the picks so far. The validation set is
    the pool itself, the parameters are those of the last layer, so that gradients after the step follow from the
    factors: the logits move by ``-eta (\bar g_S) (h, 1)``. After each of `refreshes` equal parts of the budget the
    gradient is taken anew. All weights are equal within a group.

    Args:
        granularity: "class" (each class its share of the budget, one validation gradient for all) or "global".
        eta: length of the step along the mean gradient of the picks, > 0.
        refreshes: how many times the validation gradient is taken, >= 1.

    Raises:
        ValueError: from `choose`, gradients that are not those of a single cross-entropy.

    Source: Killamsetty et al., "GLISTER: Generalization based Data Subset Selection for Efficient and Robust
    Learning", AAAI 2021, Theorem 1 and Algorithm 2.
    """

    granularity: str = "class"
    eta: float = 1.0
    refreshes: int = 20
    needs_gradients = True
    needs_labels = False
    redraws = False

    def __post_init__(self) -> None:
        check_choice("granularity", self.granularity, ("class", "global"))
        check_number("eta", self.eta, low=0.0, above=True)
        check_count("refreshes", self.refreshes, low=1)

    def choose(self, pool: Pool, fraction: float, seed: int) -> Choice:
        if pool.gradients is None or pool.labels is None:
            raise ValueError("pool must hold gradients and labels for Glister; got none")
        g, labels = pool.gradients, pool.labels.to(pool.gradients.device)
        log_p = _log_probabilities(g, labels)
        problems = partition(labels if self.granularity == "class" else None, pool.n, g.device)
        shares = problems.share(max(1, int(fraction * pool.n)))
        chosen = torch.zeros(pool.n, dtype=torch.bool, device=g.device)
        picks: list[list[Tensor]] = [[] for _ in range(len(problems))]
        for part in range(1, self.refreshes + 1):
            gain = self._gains(g, log_p, labels, chosen)
            for own, members, k in zip(picks, problems, shares.tolist(), strict=True):
                left = members[~chosen[members]]
                wanted = k * part // self.refreshes - sum(map(len, own))
                own.append(left[gain[left].argsort(descending=True, stable=True)[:wanted]])
            chosen[torch.cat([own[-1] for own in picks])] = True
        indices = torch.cat([i for own in picks for i in own])
        weights = (problems.sizes / shares).repeat_interleave(shares).float()
        budget = int(shares.sum())
        stats = {**bare_stats(budget), "relative_gradient_error": gradient_error(g, indices, weights.to(g.device))}
        coreset = Coreset(indices.cpu(), weights, torch.zeros(budget), stats)
        return Choice(coreset.check(pool.n, budget, weight_sum=pool.n))

    def _gains(self, g: LastLayerGradients, log_p: Tensor, labels: Tensor, chosen: Tensor) -> Tensor:
        """[N] inner products with the validation gradient after a step along the picks so far."""
        h = g.features[:, 0]
        h = torch.cat([h, h.new_ones(len(h), 1)], 1) if g.bias else h
        step = self.eta * g[chosen].total() / max(1, int(chosen.sum()))
        residuals = (log_p - h @ step.to(h).T).softmax(1) - F.one_hot(labels, log_p.shape[1])
        return ((h @ (residuals.T @ h / len(h)).T) * g.residuals[:, 0]).sum(1)


def _log_probabilities(g: LastLayerGradients, labels: Tensor) -> Tensor:
    """[N, C] from residuals softmax(z) - onehot(y): the logits up to a constant."""
    p = g.residuals[:, 0] + F.one_hot(labels, g.residuals.shape[-1])
    close = 1e-3
    if g.residuals.shape[1] != 1 or float(p.min()) < -close or float((p.sum(1) - 1.0).abs().max()) > close:
        raise ValueError(
            "glister needs the gradients of one cross-entropy (objectives such as vanilla, fgsm, pgd), from which the "
            f"probabilities follow; got residuals {list(g.residuals.shape)} that are no softmax minus label"
        )
    return p.clamp_min(torch.finfo(p.dtype).tiny).log()
