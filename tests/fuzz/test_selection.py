"""The selection functions: right answers for all that is in order, a clear error for what is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import nnls
from torch import Tensor

import acs_fast as acs
from acs_fast.selection.craig import nearest_selected
from tests.fuzz import anything
from tests.fuzz.outcome import Refused, accepted, outcome
from tests.helpers import brute_force_greedy

METRICS = ("euclidean", "sqeuclidean")
SINGLE = 1e-5  # of single precision: what a few thousand operations may lose


def dense(g: acs.LastLayerGradients) -> Tensor:
    """[N, P] in float64, multiplied out by definition."""
    r, h = g.residuals.double(), g.features.double()
    weight = (r[:, :, :, None] * h[:, :, None]).sum(1).flatten(1)
    return torch.cat([weight, r.sum(1)], 1) if g.bias else weight


def tolerance(g: acs.LastLayerGradients) -> float:
    return 1e-10 if g.dtype == torch.float64 else SINGLE


def sizes(g: acs.LastLayerGradients) -> Tensor:
    """[N] what rounding errors of a gradient are relative to: its terms before they cancel."""
    one = float(g.bias)
    return (g.residuals.double().norm(dim=2) * (g.features.double().square().sum(2) + one).sqrt()).sum(1)


def groups_in_order(groups: object, n: int) -> list[Tensor]:
    ids = torch.zeros(n, dtype=torch.int64) if groups is None else anything.plain(groups)
    return [(ids == i).nonzero().flatten() for i in ids.unique()]


def check_coreset(coreset: acs.Coreset, n: int, groups: object) -> list[Tensor]:
    """Picks are in range, unique and those of their groups in order; returns them by group."""
    assert coreset.indices.dtype == torch.int64
    assert coreset.weights.dtype == coreset.gains.dtype == torch.float32
    assert len(coreset.indices) == len(coreset.weights) == len(coreset.gains)
    assert bool((coreset.weights >= 0).all() and coreset.weights.isfinite().all())
    parts = [coreset.indices[torch.isin(coreset.indices, members)] for members in groups_in_order(groups, n)]
    assert torch.equal(torch.cat(parts), coreset.indices)
    assert len(coreset.indices.unique()) == len(coreset.indices)
    return parts


def check_greedy(d: Tensor, picks: Tensor, slack: float) -> None:
    """Every pick gains as much as any other would, up to the rounding of the distances."""
    current = torch.full((len(d),), float(d.max()), dtype=torch.float64)
    for pick in picks.tolist():
        gains = (current[:, None] - d).clamp_min(0).sum(0)
        assert float(gains[pick]) >= float(gains.max()) - slack
        current = torch.minimum(current, d[:, pick])


@anything.FUZZED
@given(anything.gradients(), st.sampled_from(METRICS), st.sampled_from(anything.BACKENDS))
def test_distances(g, metric, backend):
    found = accepted(acs.pairwise_distances, g, metric, backend=backend)
    x = dense(g)
    d = (x[:, None] - x[None]).norm(dim=2)
    assert found.dtype == (torch.float64 if g.dtype == torch.float64 else torch.float32)
    assert torch.equal(found, found.T)
    assert not found.diagonal().any()
    expected = d if metric == "euclidean" else d.square()
    squared = 4 * tolerance(g) * float(sizes(g).max()) ** 2  # of the largest: all are centred together
    allowed = (squared**0.5 if metric == "euclidean" else squared) + 1e-44
    assert bool(((found.double() - expected).abs() <= allowed + 5e-3 * expected).all())  # the last where terms cancel


@anything.FUZZED
@given(st.data())
def test_facility_location(data):
    g = data.draw(anything.gradients())
    groups = data.draw(anything.groups_of(len(g)))
    budget, metric = data.draw(anything.budgets_for(len(g), groups)), data.draw(st.sampled_from(METRICS))
    backend = data.draw(st.sampled_from(anything.BACKENDS))
    coreset = accepted(acs.facility_location, g, budget, metric=metric, groups=groups, backend=backend)
    parts = check_coreset(coreset, len(g), groups)
    assert float(coreset.weights.sum()) == len(g)
    x, objective, slacks = dense(g), 0.0, 0.0
    for members, picks in zip(groups_in_order(groups, len(g)), parts, strict=True):
        d = (x[members, None] - x[None, members]).norm(dim=2)
        off = (tolerance(g) ** 0.5) * 2 * float(sizes(g)[members].max())
        d, off = (d, off) if metric == "euclidean" else (d.square(), tolerance(g) * 4 * float(sizes(g).max() ** 2))
        position = torch.searchsorted(members, picks)
        check_greedy(d, position, slack := 2 * len(members) * off + 1e-300)
        objective += float(d[:, position].min(1).values.sum())
        slacks += slack
    assert coreset.stats["objective"] == pytest.approx(objective, rel=1e-4, abs=slacks)


@anything.FUZZED
@given(st.data())
def test_facility_location_of_distances(data):
    """Sums of small whole numbers are exact: the picks are those of the definition, also in asymmetric matrices."""
    n = data.draw(st.integers(1, 25))
    d = torch.randint(0, data.draw(st.integers(1, 9)), (n, n), generator=torch.Generator().manual_seed(n)).double()
    if data.draw(st.booleans()):
        d = d.triu(1) + d.triu(1).T
    given_ = anything.laid_out(
        d.to(data.draw(st.sampled_from(anything.FLOATING))), data.draw(st.sampled_from(anything.LAYOUTS))
    )
    d = anything.plain(given_).double()
    groups = data.draw(anything.groups_of(n))
    budget = data.draw(anything.budgets_for(n, groups))
    coreset = accepted(acs.facility_location, given_, budget, metric="precomputed", groups=groups)
    for members, picks in zip(groups_in_order(groups, n), check_coreset(coreset, n, groups), strict=True):
        expected, _ = brute_force_greedy(d[members[:, None], members].numpy(), len(picks))
        assert picks.tolist() == members[expected].tolist()


@anything.FUZZED
@given(st.data())
def test_gradient_matching(data):
    """Weights are the non-negative least-squares ones on the picks, of each group on its own."""
    g = data.draw(anything.gradients(most=25))
    groups = data.draw(anything.groups_of(len(g)))
    budget, backend = data.draw(anything.budgets_for(len(g), groups)), data.draw(st.sampled_from(anything.BACKENDS))
    ridge = data.draw(st.sampled_from([0.0, 0.0, 1e-3, 1.0, 1e6]))
    fill = data.draw(st.sampled_from(("none", "random", "next_best")))
    coreset = accepted(acs.gradient_matching, g, budget, groups=groups, ridge=ridge, fill=fill, backend=backend)
    parts = check_coreset(coreset, len(g), groups)
    if fill != "none":
        assert len(coreset) == coreset.stats["budget"]
    x, weights = dense(g), dict(zip(coreset.indices.tolist(), coreset.weights.double().tolist(), strict=True))
    if not coreset.stats["filled"]:
        for members, picks in zip(groups_in_order(groups, len(g)), parts, strict=True):
            w = torch.tensor([weights[i] for i in picks.tolist()], dtype=torch.float64)
            check_least_squares(x[picks].numpy(), x[members].sum(0).numpy(), w.numpy(), ridge)
    total = torch.tensor([weights.get(i, 0.0) for i in range(len(g))], dtype=torch.float64) @ x
    scale = float(x.sum(0).norm())
    if scale > 1e-6 * float(x.abs().max()):
        assert coreset.stats["relative_gradient_error"] == pytest.approx(
            float((total - x.sum(0)).norm()) / scale, rel=1e-3, abs=1e-3
        )


def check_least_squares(atoms: np.ndarray, target: np.ndarray, w: np.ndarray, ridge: float) -> None:
    def objective(v):
        return float(np.square(v @ atoms - target).sum() + ridge * np.square(v).sum())

    if not len(w):
        assert (atoms @ target <= 1e-9).all()
        return
    system = np.vstack([atoms.T, np.sqrt(ridge) * np.eye(len(w))])
    best, _ = nnls(system, np.concatenate([target, np.zeros(len(w))]), maxiter=10**4)
    assert objective(w) <= objective(best) * (1 + 1e-4) + 1e-6 * float(np.square(target).sum()) + 1e-80


@anything.FUZZED
@given(st.data())
def test_what_is_wild(data):
    """Values at the edge of what a dtype holds: refused by name, or right."""
    g = data.draw(anything.gradients((*anything.ORDINARY, *anything.WILD), most=12))
    budget = data.draw(anything.budgets_for(len(g), None))
    finite = bool(g.residuals.isfinite().all() and g.features.isfinite().all())
    for select in (acs.facility_location, acs.gradient_matching):
        found = outcome(select, g, budget, backend=data.draw(st.sampled_from(anything.BACKENDS)))
        if isinstance(found, Refused):
            assert found.kind is ValueError
            assert not finite or "too large" in found.message
        else:
            assert finite
            check_coreset(found, len(g), None)
    d = outcome(acs.pairwise_distances, g, data.draw(st.sampled_from(METRICS)))
    assert isinstance(d, Refused) or bool(d.isfinite().all() and (d >= 0).all())


@anything.FUZZED
@given(st.data())
def test_anything_else(data):
    """Arguments of every kind in every place."""
    anywhere = st.one_of(anything.junk(), anything.NUMBERS, anything.gradients(most=5))
    x, budget = data.draw(anywhere), data.draw(anything.NUMBERS)
    groups, backend = (
        data.draw(st.one_of(st.none(), anything.junk())),
        data.draw(st.sampled_from(["auto", "cuda", "", None, 3])),
    )
    metric = data.draw(st.sampled_from([*METRICS, "precomputed", "cosine", None, 1]))
    outcome(acs.pairwise_distances, x, metric, backend=backend)
    outcome(acs.facility_location, x, budget, metric=metric, groups=groups, backend=backend)
    outcome(
        acs.gradient_matching, x, budget, groups=groups, target=data.draw(st.one_of(st.none(), anything.junk())),
        ridge=data.draw(anything.NUMBERS), fill=data.draw(st.sampled_from(["none", "random", "all", 0])),
        seed=data.draw(anything.NUMBERS), backend=backend,
    )  # fmt: skip


@anything.FUZZED
@given(st.data())
def test_another_target(data):
    """One of the data's scale, of the right shape: flat or as a matrix, for each group its own."""
    g = data.draw(anything.gradients(most=15))
    groups = data.draw(anything.groups_of(len(g)))
    count = len(groups_in_order(groups, len(g)))
    shape = (g.residuals.shape[2], g.features.shape[2] + int(g.bias))
    shape = shape if data.draw(st.booleans()) else (shape[0] * shape[1],)
    target = data.draw(anything.tensors(*((count,) if groups is not None else ()), *shape))
    budget = data.draw(anything.budgets_for(len(g), groups))
    check_coreset(accepted(acs.gradient_matching, g, budget, target=target, groups=groups), len(g), groups)


@anything.FUZZED
@given(st.data())
def test_selectors(data):
    g = data.draw(anything.gradients(most=25))
    labels = torch.randint(3, (len(g),), generator=torch.Generator().manual_seed(data.draw(anything.SEEDS)))
    selector = data.draw(st.sampled_from([
        acs.Craig(), acs.Craig("sqeuclidean", False, "equal"), acs.GradMatch(), acs.GradMatch(False, ridge=0.1),
        acs.Clusters(3), acs.Clusters(None, 0.5, "size", per_class=False), acs.Random(), acs.Random(stratified=True),
        acs.PerBatch(acs.Craig(), 4), acs.PerBatch(acs.GradMatch(), 3), acs.PerBatch(acs.Random(), 100),
    ]))  # fmt: skip
    budget = data.draw(st.integers(1, len(g)))
    found = outcome(selector.select, len(g), budget, g, labels, data.draw(anything.SEEDS))
    if isinstance(found, Refused):
        assert "at least the number of groups" in found.message
        assert budget < 3
        return
    found.to("cpu").check(len(g))
    assert len(found) < budget + getattr(selector, "batch_size", 1)  # a ragged mini-batch counts as a whole one


@anything.FUZZED
@given(st.data())
def test_nearest_selected(data):
    g = data.draw(anything.gradients(most=20))
    groups = data.draw(anything.groups_of(len(g)))
    groups = None if groups is None else torch.as_tensor(anything.plain(groups))
    every = groups_in_order(groups, len(g))
    selected = torch.cat([members[: data.draw(st.integers(1, len(members)))] for members in every])
    selected = selected[torch.randperm(len(selected), generator=torch.Generator().manual_seed(1))]
    found = accepted(nearest_selected, g, selected, groups)
    x, scale = dense(g), float(sizes(g).max())
    for members in every:
        own = selected[torch.isin(selected, members)]
        d = (x[members, None] - x[None, own]).norm(dim=2).square()
        got = (x[members] - x[selected[found[members]]]).square().sum(1)
        assert bool((got <= d.min(1).values + tolerance(g) * 8 * scale**2).all())
