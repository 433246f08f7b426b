r"""Reference: gradient matching. The specification of `acs_fast::gradient_matching`.

Non-negative orthogonal matching pursuit in Gram space: the atom with the largest inner product with the residual joins,
then all weights are refitted by non-negative least squares over every atom that ever joined. Atoms that the refit
leaves at zero do not count against the budget, so the search goes on until the budget is spent on positive weights, no
atom has a positive inner product with the residual, or every one that has depends on those chosen (the rank is
reached).
Everything is computed in float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from acs_fast.ops.problems import Problems
from acs_fast.ops.reference.nnls import NonNegativeLeastSquares
from acs_fast.ops.reference.pairwise_distances import inner_products, squared_norms
from acs_fast.ops.report import stage

TOLERANCE = 1e-10  # of an inner product with the residual, relative to the largest with the target


def gradient_matching(
    residuals: Tensor, features: Tensor, bias: bool, problems: Problems, targets: Tensor, ridge: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Matching within each group, straight from the factors.

    Args:
        residuals, features: [N, R, C] and [N, R, D].
        problems: the groups and their budgets.
        targets: [G, C, D (+1)] what each group's weighted sum should equal.
        ridge: weight of the squared norm of the weights, >= 0.

    Returns:
        indices [k] into the N samples, weights [k] float64 and gains [k] float64 (by how much the squared error fell),
        by group in pick order, where a group that stops early is padded with index -1, weight 0, gain 0; and how many
        each group has, [G].
    """
    members, offsets, budgets, budget = problems
    indices = torch.full((budget,), -1, dtype=torch.int64, device=residuals.device)
    weights = torch.zeros(budget, dtype=torch.float64, device=residuals.device)
    gains = torch.zeros_like(weights)
    counts = torch.zeros_like(budgets)
    bounds, start = offsets.tolist(), 0
    for i, k in enumerate(budgets.tolist()):
        if not k:
            continue
        group = members[bounds[i] : bounds[i + 1]]
        r, h = residuals[group].to(torch.float64), features[group].to(torch.float64)
        picks, w, fell = _match(r, h, bias, targets[i].to(torch.float64), k, ridge)
        span = slice(start, start + len(picks))
        indices[span], weights[span], gains[span] = group[picks], w, fell
        counts[i] = len(picks)
        start += k
    return indices, weights, gains, counts


def correlations(r: Tensor, h: Tensor, bias: bool, target: Tensor) -> Tensor:
    """[N] inner products of the gradients with a target [C, D (+1)]."""
    d = h.shape[-1]
    logits = h @ target[:, :d].T
    return ((logits + target[:, d] if bias else logits) * r).sum((1, 2))


def weighted_total(r: Tensor, h: Tensor, bias: bool, weights: Tensor) -> Tensor:
    """[C, D (+1)] the weighted sum of the gradients."""
    r = r * weights[:, None, None]
    total = torch.einsum("nrc,nrd->cd", r, h)
    return torch.cat([total, r.sum((0, 1))[:, None]], 1) if bias else total


def _match(
    r: Tensor, h: Tensor, bias: bool, target: Tensor, budget: int, ridge: float
) -> tuple[Tensor, Tensor, Tensor]:
    n = len(r)
    with stage("correlations"):
        to_target = correlations(r, h, bias, target)
    norms = squared_norms(r, h, bias)
    floor = TOLERANCE * float(to_target.abs().max())
    fit = NonNegativeLeastSquares(ridge, min(n, budget + 8), to_target)
    columns = to_target.new_zeros(min(n, budget + 8), n)  # one Gram column of each pick
    open_ = torch.ones(n, dtype=torch.bool, device=r.device)
    picks: list[int] = []
    gains: list[float] = []
    objective, best = 0.0, (fit.weights.clone(), 0)
    while len(fit.passive) < budget:
        with stage("correlations"):
            correlation = to_target - fit.weights @ columns[: fit.size]
            correlation[~open_] = -torch.inf
            pick = int(correlation.argmax())
        if not float(correlation[pick]) > floor:
            break
        open_[pick] = False
        if fit.size == len(columns):
            columns = torch.cat([columns, torch.zeros_like(columns)])
        with stage("correlations"):
            column = inner_products(r[pick, None], h[pick, None], r, h, bias)[0]
        if not fit.append(column[picks], norms[pick], to_target[pick]):
            continue  # depends on the atoms in use: no direction of its own
        columns[fit.size - 1] = column
        picks.append(pick)
        with stage("refit"):
            fit.solve()
        if len(fit.passive) > budget:  # dropped atoms came back: the last solution that fits stands
            break
        before, objective = objective, _objective(fit, to_target[picks])
        gains.append(before - objective)
        best = (fit.weights.clone(), fit.size)
    weights, size = best
    chosen = torch.tensor(picks[:size], dtype=torch.int64, device=r.device)
    gained = torch.tensor(gains, dtype=torch.float64, device=r.device)
    used = weights > 0
    chosen, weights, gained = chosen[used], weights[used], gained[used]
    return chosen, polish(r[chosen], h[chosen], bias, target, weights, ridge), gained


def polish(r: Tensor, h: Tensor, bias: bool, target: Tensor, weights: Tensor, ridge: float) -> Tensor:
    """One step of iterative refinement with the residual formed from the factors, kept where all weights stay >= 0."""
    if not len(weights):
        return weights
    residual = target - weighted_total(r, h, bias, weights)
    gradient = correlations(r, h, bias, residual) - ridge * weights
    system = inner_products(r, h, r, h, bias)
    system.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(system)
    refined = weights + torch.cholesky_solve(gradient[:, None], factor)[:, 0]
    return refined if not int(failed) and bool((refined >= 0).all()) else weights


def _objective(fit: NonNegativeLeastSquares, to_target: Tensor) -> float:
    """w'Gw - 2c'w + ridge |w|^2: the squared error less the constant |target|^2."""
    w = fit.weights
    return float(w @ (fit.gram @ w) - 2.0 * (to_target @ w) + fit.ridge * (w @ w))
