"""GradMatch: non-negative matching pursuit towards the full gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from acs_fast import ops
from acs_fast._util.checks import check_choice, check_finite, check_floating, check_number, resolve_budget
from acs_fast._util.randomness import derived_generator
from acs_fast._util.stopwatch import Stopwatch
from acs_fast.coreset import Coreset
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.gradients.source import Extraction
from acs_fast.ops import backends
from acs_fast.ops.reference.gradient_matching import correlations
from acs_fast.ops.reference.nnls import NonNegativeLeastSquares
from acs_fast.selection.common import as_gradients, finish, total
from acs_fast.selection.groups import Groups, partition

FILLS = ("none", "random", "next_best")


def gradient_matching(
    x: LastLayerGradients | Tensor,
    budget: int | float,
    *,
    groups: Tensor | None = None,
    target: Tensor | None = None,
    ridge: float = 0.0,
    fill: str = "none",
    seed: int = 0,
    backend: str = "auto",
) -> Coreset:
    r"""GradMatch: non-negative orthogonal matching pursuit towards the full gradient.

    .. math:: \min_{w \ge 0, |S| \le k} \Big\| \sum_{i \in S} w_i g_i - \sum_i g_i \Big\|^2 + \lambda \|w\|^2

    Each pick is the sample with the largest inner product with what is left of the target; after each, all weights are
    refitted by non-negative least squares.

    Args:
        x: N gradients, or vectors [N, P].
        budget: k as an int in [1, N], or a fraction in (0, 1], rounded down, at least 1.
        groups: [N] integers: an independent problem within each, the budget shared as in `facility_location`.
        target: what the weighted sum should equal, by default the sum of all gradients (of each group): [C, D (+1)] as
            `LastLayerGradients.total` returns it, or flat as a row of `dense()`; with G groups [G, ...].
        ridge: lambda >= 0. With 0, no more than rank(g) samples are of use.
        fill: what to do when fewer than k samples are of use: "none" returns fewer; "random" adds random ones,
            "next_best" those with the largest inner product with the target. An added sample gets weight 1, it stands
            for itself, and the weights of the matched ones are refitted to the rest of the target.
        seed: of fill="random".
        backend: "auto", or one of "reference", "cpu", "triton", "cuda".

    Returns:
        A `Coreset`; `stats["filled"]` says how many samples the fill policy added, `stats["stopped"]` in how many
        groups the search ended before the budget.

    Raises:
        ValueError, RuntimeError: as `facility_location`; also ridge < 0, a target of the wrong shape, unknown fill.

    Example:
        >>> gradient_matching(torch.eye(3), 2).weights
        tensor([1., 1.])

    Source: Killamsetty et al., "GRAD-MATCH: Gradient Matching based Data Subset Selection for Efficient Deep Model
    Training", ICML 2021, Eq. 2 and Algorithm 2.
    """
    check_choice("fill", fill, FILLS)
    ridge = check_number("ridge", ridge, low=0.0)
    g = as_gradients(x)
    k = resolve_budget(budget, len(g))
    problems = partition(groups, len(g), g.device)
    budgets = problems.share(k)
    targets = own_totals(g, problems) if target is None else shaped_targets(g, len(problems), target)
    watch = Stopwatch(g.device)
    with watch("select"):
        (*matched, counts), report = ops.gradient_matching(
            g.residuals, g.features, g.bias, problems.of(budgets), targets, ridge, backend=backend
        )
    watch.add(report.seconds)
    with watch("fill"):
        generators = [derived_generator("fill", seed, i) for i in range(len(problems))]
        parts, errors = completed(g, problems, matched, counts, budgets, targets, ridge, fill, generators)
        indices, weights, gains = (torch.cat(x) for x in zip(*parts, strict=True))
    largest = int(problems.sizes.max())
    planned = 8 * int(budgets.max()) * (largest + 2 * int(budgets.max()))  # Gram columns, Gram matrix, factor
    coreset = finish(
        g, indices, weights, gains, watch, target=targets.sum(0), backend=report.backend, budget=k,
        kernels=report.kernels, path=report.path or "dense", peak_bytes=report.peak_bytes or planned,
        filled=len(indices) - int(counts.sum()), stopped=int((counts < budgets.to(counts)).sum()),
    )  # fmt: skip
    coreset.stats["objective"] = sum(errors, ridge * float(coreset.weights.double().square().sum()))
    return coreset.check(len(g), None if fill == "none" else k)


@dataclass(frozen=True)
class GradMatch:
    """Selector: gradient matching, see `gradient_matching`.

    Args:
        per_class: an independent problem for each label, else one over all samples.
        ridge: lambda >= 0.
        fill: "none", "random" or "next_best", where fewer samples than the budget are of use; stats say how many.
        target: a gradient source over a trusted set, such as `AttackPass(model, trusted, objective)`: its gradients
            are matched instead of the training set's own, scaled to N samples, those of each class within that class.
        backend: see `gradient_matching`.

    Raises:
        ValueError: an argument outside its range.
    """

    per_class: bool = True
    ridge: float = 0.0
    fill: str = "random"
    target: Callable[[int], Extraction] | None = None
    backend: str = "auto"
    needs_gradients = True
    lasts = "period"

    def __post_init__(self) -> None:
        check_number("ridge", self.ridge, low=0.0)
        check_choice("fill", self.fill, FILLS)
        check_choice("backend", self.backend, backends.BACKENDS)

    def select(
        self, n: int, budget: int, gradients: LastLayerGradients | None, labels: Tensor | None, seed: int
    ) -> Coreset:
        """See `Selector.select`.

        Raises:
            ValueError: no gradients, or a class without a trusted sample.
        """
        if gradients is None:
            raise ValueError("gradients must be given for GradMatch; got None")
        groups = labels.to(gradients.device) if self.per_class and labels is not None else None
        target = None if self.target is None else trusted_target(self.target(seed), n, groups).to(gradients.device)
        return gradient_matching(
            gradients, budget, groups=groups, target=target, ridge=self.ridge, fill=self.fill, seed=seed,
            backend=self.backend,
        )  # fmt: skip


def trusted_target(trusted: Extraction, n: int, groups: Tensor | None) -> Tensor:
    """[C, D (+1)], or [G, C, D (+1)] for G groups: the trusted set's summed gradients, scaled to n samples.

    Args:
        trusted: gradients and labels of M trusted samples.
        n: N.
        groups: [N] labels, where each class has a problem of its own.

    Raises:
        ValueError: a class of the data has no trusted sample.
    """
    if groups is None:
        return total(trusted.gradients) * (n / len(trusted.gradients))
    targets = []
    ids, sizes = torch.unique(groups, return_counts=True)
    for label, size in zip(ids.tolist(), sizes.tolist(), strict=True):
        own = trusted.gradients[(trusted.labels == label).to(trusted.gradients.device)]
        if not len(own):
            raise ValueError(f"target must hold a trusted sample of every class; got none of class {label}")
        targets.append(total(own) * (size / len(own)))
    return torch.stack(targets)


def own_totals(g: LastLayerGradients, problems: Groups) -> Tensor:
    """[G, C, D (+1)] float64: the sum of every group's gradients."""
    return torch.stack([total(g) if len(members) == len(g) else total(g[members]) for members in problems])


def shaped_targets(g: LastLayerGradients, groups: int, target: Tensor) -> Tensor:
    """[G, C, D (+1)] float64, one target a group, of what `gradient_matching` takes."""
    c, d = g.residuals.shape[-1], g.features.shape[-1]
    matrix = (c, d + int(g.bias))
    target = check_floating("target", target).detach().to(g.device, torch.float64)
    size = matrix[0] * matrix[1]
    lead = () if groups == 1 and target.shape in (matrix, (size,)) else (groups,)
    if target.shape == (*lead, *matrix):
        shaped = target
    elif target.shape == (*lead, size):
        weight = target[..., : c * d].unflatten(-1, (c, d))
        shaped = torch.cat([weight, target[..., c * d :, None]], -1) if g.bias else weight
    else:
        wanted = () if groups == 1 else (groups,)
        raise ValueError(f"target must have shape {[*wanted, *matrix]} or {[*wanted, size]}; got {list(target.shape)}")
    check_finite("target", shaped.reshape(groups, -1))
    return shaped.reshape(groups, *matrix)


def completed(
    g: LastLayerGradients,
    problems: Groups,
    matched: Sequence[Tensor],
    counts: Tensor,
    budgets: Tensor,
    targets: Tensor,
    ridge: float,
    fill: str,
    generators: Sequence[torch.Generator],
) -> tuple[list[tuple[Tensor, Tensor, Tensor]], list[float]]:
    """What was matched in each group, filled up to its budget.

    Args:
        matched: indices, weights and gains, the first counts[i] of the places for budgets[i] picks of each group.
        generators: of fill="random", one for each group.

    Returns:
        indices, weights and gains of each group, and its squared error.
    """
    parts, errors = [], []
    starts = (budgets.cumsum(0) - budgets).tolist()
    for i, (members, start) in enumerate(zip(problems, starts, strict=True)):
        indices, weights, gains = (x[start : start + int(counts[i])] for x in matched)
        part = _filled(g, members, (indices, weights, gains), int(budgets[i]), targets[i], ridge, fill, generators[i])
        parts.append(part)
        errors.append(float((total(g[part[0]], part[1].float()) - targets[i]).square().sum()))
    return parts, errors


def _filled(
    g: LastLayerGradients,
    members: Tensor,
    part: tuple[Tensor, Tensor, Tensor],
    budget: int,
    target: Tensor,
    ridge: float,
    fill: str,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Complete a group's picks to its budget and refit the matched weights to what the added samples leave."""
    picks, weights, gains = part
    missing = budget - len(picks)
    if fill == "none" or not missing:
        return part
    others = members[~torch.isin(members, picks)]
    if fill == "random":
        order = torch.randperm(len(others), generator=generator).to(others.device)
    else:
        rest = g[others].to(torch.float64)
        to_target = correlations(rest.residuals, rest.features, g.bias, target)
        order = torch.argsort(to_target, descending=True, stable=True)
    added = others[order[:missing]]
    if len(picks):
        weights = _refit(g[picks].to(torch.float64), target - total(g[added]), ridge)
    ones, zeros = weights.new_ones(missing), gains.new_zeros(missing)
    return torch.cat([picks, added]), torch.cat([weights, ones]), torch.cat([gains, zeros])


def _refit(matched: LastLayerGradients, target: Tensor, ridge: float) -> Tensor:
    """Non-negative least-squares weights of the matched samples for another target."""
    r, h, bias = matched.residuals, matched.features, matched.bias
    rhs, gram = correlations(r, h, bias, target), matched.gram()
    fit = NonNegativeLeastSquares(ridge, len(matched), rhs)
    kept: list[int] = []
    for i in range(len(matched)):
        if fit.append(gram[i, kept], gram[i, i], rhs[i]):
            kept.append(i)
    fit.solve()
    weights = rhs.new_zeros(len(matched))
    weights[kept] = fit.weights
    return weights
