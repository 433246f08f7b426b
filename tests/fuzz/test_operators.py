"""The dispatcher's operators themselves: what the reference answers, or an error by name, whatever tensors come."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from acs_fast.ops.schemas import REFERENCE
from tests.fuzz import anything
from tests.fuzz.outcome import Refused, accepted, outcome

OPS = torch.ops.acs_fast
WHOLE = st.one_of(st.integers(-2, 9), st.sampled_from([2**31, 2**63 - 1, -(2**63)]))


@st.composite
def problems(draw, n):
    """members, offsets, budgets and budget of groups of n samples, which may overlap and be empty."""
    members = torch.randint(n, (draw(st.integers(1, 2 * n)),))
    cuts = sorted(draw(st.lists(st.integers(0, len(members)), max_size=3)))
    offsets = torch.tensor([0, *cuts, len(members)])
    members = torch.cat([torch.randperm(n)[: min(n, int(size))] for size in offsets.diff()])
    sizes = [min(n, int(size)) for size in offsets.diff()]
    budgets = torch.tensor([draw(st.integers(0, size)) for size in sizes])
    return members, torch.tensor([0, *sizes]).cumsum(0), budgets, int(budgets.sum())


def factors(data):
    g = data.draw(anything.gradients(most=20))
    residuals = anything.laid_out(g.residuals, data.draw(st.sampled_from(anything.LAYOUTS[:5])))
    return residuals, g.features, g.bias


@anything.FUZZED
@given(st.data())
def test_distances_and_greedy(data):
    r, h, bias = factors(data)
    squared = data.draw(st.booleans())
    found = accepted(OPS.pairwise_distances, r, h, bias, squared)
    wanted = REFERENCE["pairwise_distances"](r, h, bias, squared)
    largest = float(wanted.max()) + 1e-30
    assert float((found - wanted).abs().max()) <= 2e-3 * largest  # the root of what cancels
    budget = data.draw(st.integers(0, len(r)))
    for one, other in zip(accepted(OPS.greedy, found, budget), REFERENCE["greedy"](found, budget), strict=True):
        assert torch.equal(one, other)


@anything.FUZZED
@given(st.data())
def test_facility_location(data):
    """Dense and matrix-free, groups of any kind: the reference's picks on the same distances."""
    r, h, bias = factors(data)
    squared, groups = data.draw(st.booleans()), data.draw(problems(len(r)))
    found = [accepted(OPS.facility_location, r, h, bias, squared, *groups, size) for size in (0, 2**30)]
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    picks, weights, _, objective = found[0]
    members, offsets, budgets, budget = groups
    assert len(picks) == len(weights) == budget
    assert len(objective) == len(budgets)
    at = 0
    for i, k in enumerate(budgets.tolist()):
        own = members[offsets[i] : offsets[i + 1]]
        assert set(picks[at : at + k].tolist()) <= set(own.tolist())
        assert float(weights[at : at + k].sum()) == (len(own) if k else 0)
        at += k


@anything.FUZZED
@given(st.data())
def test_gradient_matching(data):
    r, h, bias = factors(data)
    groups = data.draw(problems(len(r)))
    targets = torch.randn(len(groups[2]), r.shape[2], h.shape[2] + bias)
    arguments = (r, h, bias, *groups, targets, data.draw(st.sampled_from([0.0, 1e-3, 1.0])))
    picks, weights, _, counts = accepted(OPS.gradient_matching, *arguments)
    assert bool((counts <= groups[2]).all() and (weights >= 0).all() and (picks < len(r)).all())
    assert len(picks) == groups[3]


@anything.FUZZED
@given(st.data())
def test_residuals(data):
    n, classes = data.draw(st.integers(0, 6)), data.draw(st.integers(1, 5))
    clean, other = (data.draw(anything.tensors(n, classes, dtypes=(torch.float64,))) for _ in range(2))
    clean, other = anything.plain(clean), anything.plain(other)
    y = torch.randint(classes, (n,))
    found = accepted(OPS.cross_entropy_residuals, clean, y)
    expected = clean.softmax(1) - torch.nn.functional.one_hot(y, classes)
    torch.testing.assert_close(found, expected)
    both = accepted(OPS.trades_residuals, clean, other, y, data.draw(st.floats(0, 10)))
    assert bool(both.isfinite().all())


@anything.FUZZED
@given(st.data())
def test_anything_else(data):
    """Tensors of any shape, dtype and values, and whole numbers of any size, wherever the schema takes them."""
    drawn = [data.draw(anything.junk()) for _ in range(5)]
    x = [t if torch.is_tensor(t) and t.layout == torch.strided and not t.is_meta else torch.zeros(2, 2) for t in drawn]
    k, on, real = data.draw(WHOLE), data.draw(st.booleans()), data.draw(st.floats())
    outcome(OPS.pairwise_distances, x[0], x[1], on, not on)
    outcome(OPS.greedy, x[0], k)
    outcome(OPS.facility_location, x[0], x[1], on, on, x[2], x[3], x[4], k, data.draw(WHOLE))
    outcome(OPS.gradient_matching, x[0], x[1], on, x[2], x[3], x[4], k, x[0], real)
    outcome(OPS.packed_greedy, x[0], x[1], x[2], k, x[3], on)
    for arguments in ((OPS.cross_entropy_residuals, x[0], x[1]), (OPS.trades_residuals, x[0], x[1], x[2], real)):
        found = outcome(*arguments)
        assert isinstance(found, (Refused, torch.Tensor))
