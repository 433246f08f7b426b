"""CRAIG: facility location over gradients, vectors or given distances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from acs_fast import ops
from acs_fast._util.checks import check_choice, check_count, check_finite, check_floating, resolve_budget
from acs_fast._util.dtypes import accumulable
from acs_fast._util.memory import workspace_bytes
from acs_fast._util.stopwatch import Stopwatch
from acs_fast.coreset import Coreset
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.ops import backends
from acs_fast.selection.common import as_gradients, finish, gradient_error
from acs_fast.selection.groups import partition

METRICS = ("euclidean", "sqeuclidean")
WEIGHTS = ("size", "equal")


def pairwise_distances(g: LastLayerGradients | Tensor, metric: str = "euclidean", *, backend: str = "auto") -> Tensor:
    r"""Distances between all pairs of gradients, from their factors.

    .. math:: d_{ij}^2 = \|g_i\|^2 + \|g_j\|^2 - 2 \langle g_i, g_j \rangle

    Args:
        g: N gradients, or vectors [N, P].
        metric: "euclidean", or "sqeuclidean" for its square.
        backend: "auto", or one of "reference", "cpu", "triton", "cuda".

    Returns:
        [N, N], float32 (float64 for float64 input), symmetric; exactly zero on the diagonal and for identical samples.

    Raises:
        ValueError: NaN or infinite gradients (names the samples), or an unknown metric or backend.
        RuntimeError: the backend is not available here.

    Example:
        >>> pairwise_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
        tensor([[0., 5.],
                [5., 0.]])
    """
    check_choice("metric", metric, METRICS)
    g = as_gradients(g)
    squared = metric == "sqeuclidean"
    return ops.pairwise_distances(g.residuals, g.features, g.bias, squared, backend=backend)[0]


def facility_location(
    x: LastLayerGradients | Tensor,
    budget: int | float,
    *,
    metric: str = "euclidean",
    groups: Tensor | None = None,
    memory: int | None = None,
    backend: str = "auto",
) -> Coreset:
    r"""CRAIG: the exact greedy minimiser of the distance from every sample to its nearest selected one.

    .. math:: \min_{|S| = k} \sum_i \min_{j \in S} d(g_i, g_j)

    Each pick is the sample with the largest gain, the lowest index among equals; the weight of a pick is the number of
    samples nearest to it, the earliest pick among equally near ones. For the same distances the picks are the same on
    every backend, whatever the number of threads.

    Args:
        x: N gradients, vectors [N, P], or with metric="precomputed" distances [N, N], where x[i, j] is what sample i
            pays when sample j stands for it.
        budget: k as an int in [1, N], or a fraction in (0, 1], rounded down, at least 1.
        metric: "euclidean" (CRAIG's theory), "sqeuclidean" or "precomputed".
        groups: [N] integers: an independent problem within each, the budget shared in proportion to the sizes by
            largest remainder, at least one each.
        memory: bytes that the selection may take, by default half of what is free. Groups whose distance matrix is
            larger are solved without the whole of it, with the same picks: the path "matrix-free" in the stats. On a
            CPU whatever stands beside the distances counts too, and at least that is taken; on a GPU, distances alone.
        backend: "auto", or one of "reference", "cpu", "triton", "cuda".

    Returns:
        A `Coreset` whose weights sum to N; `gains[0]` of each group counts from the largest distance in it.

    Raises:
        ValueError: NaN or infinite gradients (names the samples), a budget outside its range or smaller than the number
            of groups, negative, infinite or non-square distances, groups of the wrong length, an unknown metric.
        RuntimeError: the backend is not available here.

    Example:
        >>> facility_location(torch.tensor([[0.0], [1.0], [10.0]]), 2).indices
        tensor([1, 2])

    Source: Mirzasoleiman, Bilmes, Leskovec, "Coresets for Data-efficient Training of Machine Learning Models", ICML
    2020, Eq. 10 and Algorithm 1.
    """
    check_choice("metric", metric, (*METRICS, "precomputed"))
    if metric == "precomputed":
        return _facility_location_of_matrix(_check_distances(x), budget, groups, backend)
    g = as_gradients(x)
    k = resolve_budget(budget, len(g))
    problems = partition(groups, len(g), g.device)
    budgets = problems.share(k)
    watch = Stopwatch(g.device)
    with watch("select"):
        (indices, weights, gains, objective), report = ops.facility_location(
            g.residuals, g.features, g.bias, metric == "sqeuclidean", problems.of(budgets),
            workspace_bytes(g.device, memory), backend=backend,
        )  # fmt: skip
    watch.add(report.seconds)
    return finish(
        g, indices, weights, gains, watch, objective=float(objective.sum()), budget=k, backend=report.backend,
        kernels=report.kernels, path=report.path, peak_bytes=report.peak_bytes,
    ).check(len(g), k, weight_sum=len(g))  # fmt: skip


def nearest_selected(
    g: LastLayerGradients, selected: Tensor, groups: Tensor | None = None, rows_at_once: int = 1 << 12
) -> Tensor:
    """The clusters of a facility-location coreset: each sample's nearest among the selected ones.

    Args:
        g: N gradients.
        selected: [k] different sample numbers. Each serves itself, also where another one is equal to it.
        groups: [N] integers: a sample is served from within its own group.

    Returns:
        [N] int64 positions in `selected`, the earliest of equally near ones.

    Raises:
        ValueError: a group of which none is selected.
    """
    problems = partition(groups, len(g), g.device)
    found = torch.empty(len(g), dtype=torch.int64, device=g.device)
    selected = selected.to(g.device)
    position = torch.full((len(g),), -1, dtype=torch.int64, device=g.device)
    position[selected] = torch.arange(len(selected), device=g.device)
    for members in problems:
        own = position[members][position[members] >= 0].sort().values
        if not len(own):
            raise ValueError(f"selected must hold a sample of every group; got none of that of sample {members[0]}")
        centres = g[selected[own]]
        norms = centres.squared_norms()
        for rows in members.split(rows_at_once):
            found[rows] = own[(norms - 2.0 * g[rows].gram(centres)).argmin(1)]
    found[selected] = position[selected]
    return found


@dataclass(frozen=True)
class Craig:
    """Selector: facility location over gradients, see `facility_location`.

    Args:
        metric: "euclidean" or "sqeuclidean".
        per_class: an independent problem for each label, else one over all samples.
        weights: "size" (the number of samples that a pick stands for) or "equal".
        backend, memory: see `facility_location`; across processes, `memory` is each one's own.

    Raises:
        ValueError: an argument outside its range.
    """

    metric: str = "euclidean"
    per_class: bool = True
    weights: str = "size"
    backend: str = "auto"
    memory: int | None = None
    needs_gradients = True
    lasts = "period"

    def __post_init__(self) -> None:
        check_choice("metric", self.metric, METRICS)
        check_choice("weights", self.weights, WEIGHTS)
        check_choice("backend", self.backend, backends.BACKENDS)
        if self.memory is not None:
            check_count("memory", self.memory)

    def select(
        self, n: int, budget: int, gradients: LastLayerGradients | None, labels: Tensor | None, seed: int
    ) -> Coreset:
        """See `Selector.select`; nothing in it is random."""
        if gradients is None:
            raise ValueError("gradients must be given for Craig; got None")
        groups = labels.to(gradients.device) if self.per_class and labels is not None else None
        chosen = facility_location(
            gradients, budget, metric=self.metric, groups=groups, memory=self.memory, backend=self.backend
        )
        return self.weighted(chosen, n, partial(gradient_error, gradients, chosen.indices))

    def weighted(self, chosen: Coreset, n: int, error: Callable[[Tensor], float]) -> Coreset:
        """A coreset of n samples with the weights wanted; `error` gives the gradient error of others than it has."""
        if self.weights == "size":
            return chosen
        weights = torch.full_like(chosen.weights, n / len(chosen))
        return replace(chosen, weights=weights, stats={**chosen.stats, "relative_gradient_error": error(weights)})


def _check_distances(x: Any) -> Tensor:
    d = check_floating("x", x).detach()
    if d.dim() != 2 or d.shape[0] != d.shape[1]:
        raise ValueError(f"x must be a square matrix [N, N] with metric='precomputed'; got {list(d.shape)}")
    if not len(d):
        raise ValueError("x must hold at least one sample; got none")
    check_finite("distances", d)
    if float(d.min()) < 0:
        i, j = (d < 0).nonzero()[0].tolist()
        raise ValueError(f"x must hold distances >= 0; got {float(d[i, j]):.4g} at [{i}, {j}]")
    return accumulable(d)


def _facility_location_of_matrix(d: Tensor, budget: int | float, groups: Tensor | None, backend: str) -> Coreset:
    k = resolve_budget(budget, len(d))
    problems = partition(groups, len(d), d.device)
    watch, parts, objective, peak_bytes = Stopwatch(d.device), [], 0.0, 0
    with watch("select"):
        for members, share in zip(problems, problems.share(k).tolist(), strict=True):
            block = d if len(problems) == 1 else d[members[:, None], members]
            (picks, gains, assignment), report = ops.greedy(block, share, backend=backend)
            watch.add(report.seconds)
            peak_bytes = max(peak_bytes, report.peak_bytes, 0 if len(problems) == 1 else block.nbytes)
            served = block.gather(1, picks[assignment][:, None])
            objective += float(served.sum(dtype=torch.float64))
            parts.append((members[picks], torch.bincount(assignment, minlength=share).float(), gains.float()))
    indices, weights, gains = (torch.cat(x) for x in zip(*parts, strict=True))
    stats = {
        "relative_gradient_error": None, "objective": objective, "seconds": watch.seconds(),
        "backend": report.backend, "kernels": report.kernels, "path": "dense", "peak_bytes": peak_bytes, "budget": k,
        "filled": 0,
    }  # fmt: skip
    return Coreset(indices, weights, gains, stats).check(len(d), k, weight_sum=len(d))
