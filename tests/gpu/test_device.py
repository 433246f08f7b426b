"""What decides on a GPU: kernels by what is there, waves by what fits, less at a time when memory runs out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from acs_fast.ops import checks
from acs_fast.ops import device as ops
from acs_fast.ops.problems import Problems
from acs_fast.ops.reference import gradient_matching as reference_matching
from acs_fast.ops.reference.facility_location import facility_location
from acs_fast.ops.reference.greedy import greedy
from acs_fast.ops.reference.packed_greedy import packed_greedy
from acs_fast.ops.report import taking_notes
from tests.gpu import cases
from tests.gpu.requirements import need_triton

SIZES, BUDGETS = [40, 7, 33], torch.tensor([6, 2, 5])


def problem(device):
    r, h = cases.factors(sum(SIZES), 1, 3, 9)
    members, offsets = cases.grouping(SIZES)
    return r.to(device), h.to(device), True, False, Problems(members.to(device), offsets, BUDGETS, 13)


def same_objective(found, device):
    args = problem(torch.device("cpu"))
    expected = facility_location(*args, 1 << 30)
    torch.testing.assert_close(found[3].cpu(), expected[3], rtol=1e-4, atol=0.0)
    assert float(found[1].sum()) == sum(SIZES)
    group_of = torch.empty(sum(SIZES), dtype=torch.int64)
    group_of[args[4].members] = torch.arange(3).repeat_interleave(torch.tensor(SIZES))
    assert group_of[found[0].cpu()].tolist() == torch.arange(3).repeat_interleave(BUDGETS).tolist()
    assert len(set(found[0].tolist())) == 13


@pytest.mark.parametrize("workspace", [1 << 30, 10_000, 5_000, 1_000, 0], ids="workspace of {} bytes".format)
def test_any_workspace_gives_the_same_objective(device, workspace):
    need_triton()
    same_objective(ops.facility_location(*problem(device), workspace, backend="triton"), device)


@pytest.mark.parametrize("budgets", [[0, 2, 0, 5], [3, 0, 0, 0], [0, 0, 0, 0]])
@pytest.mark.parametrize("workspace", [1 << 30, 5_000, 0], ids="workspace of {} bytes".format)
def test_groups_that_pick_nothing(device, workspace, budgets):
    need_triton()
    sizes = [12, 7, 0, 33]
    r, h = cases.factors(sum(sizes), 1, 3, 9)
    members, offsets = cases.grouping(sizes)
    rest = (offsets, torch.tensor(budgets), sum(budgets))
    found = ops.facility_location(
        r.to(device), h.to(device), True, False, Problems(members.to(device), *rest), workspace, backend="triton"
    )
    expected = facility_location(r, h, True, False, Problems(members, *rest), workspace)
    for part, e in zip(found, expected, strict=True):
        assert (part.dtype, part.shape) == (e.dtype, e.shape)
    torch.testing.assert_close(found[3].cpu(), expected[3], rtol=1e-4, atol=0.0)
    owners = [group for group, k in zip(members.split(sizes), budgets, strict=True) for _ in range(k)]
    assert all(int(i) in group.tolist() for i, group in zip(found[0], owners, strict=True))
    assert float(found[1].sum()) == float(expected[1].sum())


def test_no_kernel_is_asked_for_nothing(monkeypatch):
    """The CUDA greedy takes a first pick for granted."""
    asked = []

    def checked(*arguments):
        checks.check_packed_greedy(*arguments)
        asked.append(arguments[2].tolist())
        return packed_greedy(*arguments)

    monkeypatch.setattr(ops.cuda, "packed_greedy", checked)
    monkeypatch.setattr(ops, "kernels", lambda dtype, backend: ops.Kernels("torch", "cuda"))
    r, h, bias, squared, problems = problem(torch.device("cpu"))
    nothing = problems._replace(budgets=torch.tensor([0, 2, 0]), budget=2)
    found = ops.facility_location(r, h, bias, squared, nothing, 1 << 30, "cuda")
    assert asked == [[1, 2, 1]]
    for part, e in zip(found, facility_location(r, h, bias, squared, nothing, 1 << 30), strict=True):
        torch.testing.assert_close(part, e, rtol=1e-6, atol=0.0)
    picks, gains, assignment = ops.greedy_on_matrix(torch.ones(3, 3), 0, "cuda")
    assert (len(picks), len(gains), assignment.tolist()) == (0, 0, [0, 0, 0])
    assert len(asked) == 1


def test_without_triton_torch_measures(monkeypatch, device):
    monkeypatch.setattr(ops, "has_triton", lambda: False)
    monkeypatch.setattr(ops, "has_cuda_greedy", lambda: False)
    assert str(ops.kernels(torch.float32)) == "distances by torch, greedy by torch"
    for workspace in (1 << 30, 1_000):
        same_objective(ops.facility_location(*problem(device), workspace), device)


def test_without_triton_the_compiled_greedy_stays(monkeypatch, device):
    there = ops.has_cuda_greedy() and device.type == "cuda"
    monkeypatch.setattr(ops, "has_triton", lambda: False)
    monkeypatch.setattr(ops, "has_cuda_greedy", lambda: True)
    assert str(ops.kernels(torch.float32)) == "distances by torch, greedy by cuda"
    if there:
        same_objective(ops.facility_location(*problem(device), 1 << 30), device)


def test_what_is_there_decides(monkeypatch):
    for triton in (False, True):
        for cuda in (False, True):
            monkeypatch.setattr(ops, "has_triton", lambda there=triton: there)
            monkeypatch.setattr(ops, "has_cuda_greedy", lambda there=cuda: there)
            found = ops.kernels(torch.float32)
            assert found.distances == ("triton" if triton else "torch")
            assert found.greedy == ("cuda" if cuda else found.distances)
            assert ops.kernels(torch.float64).distances == "torch"
            assert ops.kernels(torch.float32, "triton").greedy == found.distances
            expected = tuple(name for name, there in (("triton", triton), ("cuda", cuda)) if there)
            assert ops.automatic("facility_location", torch.device("cuda")) == expected


def test_out_of_memory_takes_less_at_a_time(monkeypatch, device):
    need_triton()
    whole, tried = ops._Problem._solve_dense, []

    def short_of_memory(self, a, b):
        tried.append((a, b))
        if b - a > 1 or a == 2:
            raise torch.OutOfMemoryError("no memory left")
        return whole(self, a, b)

    monkeypatch.setattr(ops._Problem, "_solve_dense", short_of_memory)
    same_objective(ops.facility_location(*problem(device), 1 << 30, backend="triton"), device)
    assert tried == [(0, 3), (0, 1), (1, 3), (1, 2), (2, 3)]


def test_stats_say_which_way_the_work_went(monkeypatch, device):
    need_triton()
    args = problem(device)

    def paths(workspace):
        with taking_notes(device) as notes:
            ops.facility_location(*args, workspace, backend="triton")
        return notes.paths

    assert paths(1 << 30) == {"dense"}
    assert paths(0) == {"matrix-free"}
    assert paths(5_000) == {"dense", "matrix-free"}
    monkeypatch.setattr(ops._Problem, "_solve_dense", out_of_memory)
    assert paths(1 << 30) == {"matrix-free"}


def out_of_memory(self, a, b):
    raise torch.OutOfMemoryError("no memory left")


def test_the_objective_survives_gradients_that_point_the_same_way(device):
    need_triton()
    r, h = cases.factors(110, 1, 5, 12)
    r, h = 20.0 + 0.1 * r, 5.0 + 0.1 * h
    members, offsets = cases.grouping([70, 40])
    rest = (offsets, torch.tensor([9, 6]), 15)
    expected = facility_location(r.double(), h.double(), True, False, Problems(members, *rest), 1 << 30)
    for workspace in (1 << 30, 0):
        found = ops.facility_location(
            r.to(device), h.to(device), True, False, Problems(members.to(device), *rest), workspace, backend="triton"
        )
        torch.testing.assert_close(found[3].cpu(), expected[3], rtol=1e-3, atol=0.0)


def test_greedy_on_any_matrix(device):
    need_triton()
    d = torch.rand(30, 30, generator=torch.Generator().manual_seed(0))
    for found, expected in zip(ops.greedy_on_matrix(d.to(device), 7, "triton"), greedy(d, 7), strict=True):
        assert torch.equal(found.cpu(), expected)


def test_the_dispatcher_too_leaves_matching_to_torch(monkeypatch):
    monkeypatch.setattr(ops, "why_no_triton", lambda op, where: "too old")
    monkeypatch.setattr(reference_matching, "gradient_matching", lambda *arguments: arguments)
    like = SimpleNamespace(device=torch.device("cuda"))
    assert ops.gradient_matching(like, like, True, None, like, 0.0) == (like, like, True, None, like, 0.0)


def test_kernels_are_launched_on_the_logits_device(device, monkeypatch):
    need_triton()
    from acs_fast.ops import device as on_gpu

    guarded, guard = [], torch.cuda.device_of

    def recorded(x):
        guarded.append(x)
        return guard(x)

    monkeypatch.setattr(torch.cuda, "device_of", recorded)
    clean, adversarial = torch.randn(2, 4, 3, device=device)
    y = torch.arange(4, device=device) % 3
    on_gpu.cross_entropy_residuals(adversarial, y)
    on_gpu.trades_residuals(clean, adversarial, y, 6.0)
    assert [x is e for x, e in zip(guarded, (adversarial, clean), strict=True)] == [True, True]
