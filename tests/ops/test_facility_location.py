"""acs_fast::facility_location: greedy on the backend's own distances, group by group."""

import pytest
import torch

from acs_fast.ops import backends
from acs_fast.testing import COMPILED, require_backend
from tests.ops.cases import CASES, budgets, problems, random

BACKENDS = ("reference", *COMPILED)
AMPLE = 1 << 40


def run(backend, f, squared, members, offsets, shares, workspace=AMPLE):
    device = require_backend(backend)
    out, _ = backends.run(
        "facility_location", backend, *f.to(device), squared, members.to(device), offsets, shares, int(shares.sum()),
        workspace,
    )  # fmt: skip
    return tuple(x.cpu() for x in out)


def whole(backend, f, budget, squared=False, workspace=AMPLE):
    n = len(f.residuals)
    return run(backend, f, squared, torch.arange(n), torch.tensor([0, n]), torch.tensor([budget]), workspace)


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_cases(backend, case, squared):
    f = CASES[case]()
    device = require_backend(backend)
    everyone = torch.arange(len(f.residuals))
    gathered = type(f)(f.residuals[everyone], f.features[everyone], f.bias)  # as the operator gathers a group
    d = backends.run("pairwise_distances", backend, *gathered.to(device), squared)[0]
    for k in budgets(len(d)) if len(d) < 200 else [20]:
        indices, weights, gains, objective = whole(backend, f, k, squared)
        picks, expected, assignment = (x.cpu() for x in backends.run("greedy", backend, d, k)[0])
        assert torch.equal(indices, picks)
        assert torch.equal(gains, expected)
        assert torch.equal(weights, torch.bincount(assignment, minlength=k).float())
        served = d.cpu().gather(1, picks[assignment][:, None]).double().sum()
        assert float(objective) == pytest.approx(float(served), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_end_to_end_objective_as_the_reference_s(case):
    f = CASES[case]()
    k = max(1, len(f.residuals) // 4)
    got, reference = whole("cpu", f, k)[3], whole("reference", f, k)[3]
    require_backend("cpu")
    assert torch.allclose(got, reference, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", COMPILED)
def test_matrix_free_is_the_same_to_the_last_bit(backend, case):
    f = CASES[case]()
    k = max(1, len(f.residuals) // 3)
    assert equal(whole(backend, f, k, workspace=0), whole(backend, f, k))


@pytest.mark.parametrize("budgets", [[0, 3, 0, 0, 2, 0], [0, 0, 0, 0, 0, 0]])
@pytest.mark.parametrize("workspace", [0, AMPLE])
@pytest.mark.parametrize("backend", BACKENDS)
def test_groups_that_pick_nothing(backend, workspace, budgets):
    sizes = [7, 20, 0, 5, 9, 1]
    f, shares = random(sum(sizes), 5, 19), torch.tensor(budgets)
    members, offsets = problems(sizes)
    indices, weights, gains, objectives = run(backend, f, False, members, offsets, shares, workspace)
    assert indices.dtype == torch.int64
    assert len(indices) == len(weights) == len(gains) == sum(budgets)
    start = 0
    for group, k, objective in zip(members.split(sizes), budgets, objectives, strict=True):
        own = type(f)(f.residuals[group], f.features[group], f.bias)
        if k:
            alone = whole(backend, own, k, workspace=workspace)
            assert torch.equal(group[alone[0]], indices[start : start + k])
            assert torch.equal(alone[1], weights[start : start + k])
            assert torch.equal(alone[3], objective[None])
        elif len(group):
            largest = backends.run("pairwise_distances", "reference", *own, False)[0].max()
            assert float(objective) == pytest.approx(len(group) * float(largest), rel=1e-5)
        else:
            assert float(objective) == 0.0
        start += k


@pytest.mark.parametrize("sizes", [[40], [1, 1, 1], [63, 1, 5, 2], [30] * 12, [300, 20, 20], [1, 0, 6]])
@pytest.mark.parametrize("backend", BACKENDS)
def test_groups_are_independent(backend, sizes):
    f = random(sum(sizes), 5, 19)
    members, offsets = problems(sizes)
    shares = torch.tensor([(s + 1) // 2 for s in sizes])
    indices, weights, gains, objectives = run(backend, f, False, members, offsets, shares)
    start = 0
    for i, k in enumerate(shares.tolist()):
        group = members[offsets[i] : offsets[i + 1]]
        if k:
            own = type(f)(f.residuals[group], f.features[group], f.bias)
            alone = whole(backend, own, k)
            assert torch.equal(group[alone[0]], indices[start : start + k])
            assert torch.equal(alone[2], gains[start : start + k])
            assert torch.equal(alone[3][0], objectives[i])
        assert float(weights[start : start + k].sum()) == sizes[i]
        start += k


@pytest.mark.parametrize("workspace", [0, AMPLE])
@pytest.mark.parametrize("sizes", [[700], [300, 250, 100, 20], [40] * 15])
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_same_bits_for_every_number_of_threads(threads, sizes, workspace, restore_threads):
    f = random(sum(sizes), 5, 40, passes=2)
    members, offsets = problems(sizes)
    shares = torch.tensor([s // 3 for s in sizes])
    torch.set_num_threads(2)
    expected = run("cpu", f, False, members, offsets, shares, workspace)
    torch.set_num_threads(threads)
    for _ in range(2):
        assert equal(run("cpu", f, False, members, offsets, shares, workspace), expected)
