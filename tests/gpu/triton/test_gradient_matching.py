"""Gradient matching for all groups at once against the reference: same picks, weights and gains."""

from __future__ import annotations

import gc
import weakref
from contextlib import contextmanager

import pytest
import torch

from acs_fast.ops.problems import Problems
from acs_fast.ops.reference import gradient_matching as matching
from benchmarks.gpu import floors
from tests.gpu.matching_problems import arguments, same
from tests.gpu.requirements import need_triton

CASES = {
    "one sample": ([1], [1], {}),
    "three groups": ([40, 7, 90], [10, 3, 20], {}),
    "an empty group, and nothing to pick": ([9, 20, 0], [0, 5, 0], {}),
    "nothing to pick in any group": ([9, 4], [0, 0], {}),
    "budgets above the rank": ([60, 30], [50, 28], {}),
    "ridge": ([30, 20], [22, 15], {"ridge": 0.3}),
    "softmax residuals": ([90, 70], [30, 20], {"classes": 10, "width": 16, "kind": "softmax"}),
    "duplicates": ([80], [40], {"kind": "duplicates"}),
    "two passes, no bias": ([120], [20], {"passes": 2, "bias": False}),
    "many classes": ([50], [12], {"classes": 37, "width": 40}),
    "vectors": ([50], [20], {"classes": 1, "width": 30, "bias": False}),
    "half precision": ([60], [20], {"dtype": torch.bfloat16}),
    "double precision": ([60], [20], {"dtype": torch.float64}),
}


@pytest.fixture(autouse=True)
def batched():
    need_triton()
    from acs_fast.ops.triton import gradient_matching

    return gradient_matching


@pytest.mark.parametrize("name", CASES)
def test_equal_to_the_reference(batched, device, name):
    sizes, budgets, options = CASES[name]
    expected = reference(sizes, budgets, **options)
    same(batched.gradient_matching(*arguments(sizes, budgets, device, **options)), expected)


def reference(sizes, budgets, **options):
    """The reference refuses groups without samples: they are left out of its problems."""
    r, h, bias, problems, targets, ridge = arguments(sizes, budgets, **options)
    full = torch.tensor(sizes) > 0
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), torch.tensor(sizes)[full].cumsum(0)])
    some = Problems(problems.members, offsets, problems.budgets[full], problems.budget)
    *found, counts = matching.gradient_matching(r, h, bias, some, targets[full], ridge)
    return *found, torch.zeros_like(problems.budgets).masked_scatter(full, counts)


@pytest.mark.parametrize(("width", "ridge"), [(4, 1e-3), (5, 0.0)])
def test_atoms_that_leave_and_return(batched, monkeypatch, device, width, ridge):
    """Few dimensions: weights reach zero, and come back from there."""
    options = {"classes": 2, "width": width, "ridge": ridge, "dtype": torch.float64, "seed": 2}
    from acs_fast.ops.triton import matching_state as state

    sizes, budgets, whole, seen = [20] * 3, [14] * 3, batched.Search.round, set()

    def watched(self):
        whole(self)
        seen.update(self.groups.state.tolist())

    monkeypatch.setattr(batched.Search, "round", watched)
    monkeypatch.setattr(batched, "Replayed", lambda device: lambda work: work())
    expected = matching.gradient_matching(*arguments(sizes, budgets, **options))
    same(batched.gradient_matching(*arguments(sizes, budgets, device, **options)), expected)
    assert seen >= {state.LEAVE.value, state.RETURN.value}


def test_waves_of_groups_change_nothing(batched, monkeypatch, device):
    args = arguments([20, 7, 30], [5, 3, 7], device)
    whole = batched.gradient_matching(*args)
    monkeypatch.setattr(batched, "workspace_bytes", lambda _: 1)
    assert batched.waves(args[0], args[1], args[3].offsets, args[3].budgets) == [(0, 1), (1, 2), (2, 3)]
    for one, other in zip(whole, batched.gradient_matching(*args), strict=True):
        assert torch.equal(one, other)


def test_growing_and_looking_change_nothing(batched, monkeypatch, device):
    args = arguments([40], [16], device)
    expected = batched.gradient_matching(*args)
    rooms = []
    make = batched.Search._make
    monkeypatch.setattr(batched.Search, "_make", lambda self, room: (rooms.append(room), make(self, room)))
    monkeypatch.setattr(batched, "first_room", lambda size, budget: 16)
    for name, value in (("ROUNDS", 3), ("GROW_BY", 1)):
        monkeypatch.setattr(batched, name, value)
    for one, other in zip(batched.gradient_matching(*args), expected, strict=True):
        assert torch.equal(one, other)
    assert rooms == [16, 32]


def test_a_round_is_launches_alone(batched, monkeypatch, device):
    r, h, bias, problems, targets, ridge = arguments([40, 30], [10, 8], device)
    given = batched.Given(r, h, problems.members, r.shape[2], h.shape[2], float(bias))
    search = batched.Search(given, problems.offsets, problems.budgets, targets, ridge)
    search.score()
    search.decide()
    launched = []

    class Noting:
        def __init__(self, kernel):
            self.kernel = kernel

        def __getitem__(self, grid):
            launched.append(self.kernel)
            return self.kernel[grid]

    for module in (batched.products, batched.steps):
        for name, kernel in vars(module).copy().items():
            if name.endswith("_kernel"):
                monkeypatch.setattr(module, name, Noting(kernel))
    search.round()
    assert len(launched) == len(set(map(id, launched))) == floors.LAUNCHES


def test_launches_are_compiled_then_captured_then_replayed(batched, monkeypatch):
    """On the device of the tensors, whichever is the current one."""
    log, where = [], torch.device("cuda", 1)

    class Graph:
        def capture_begin(self, *, capture_error_mode):
            log.append(f"capture, {capture_error_mode}")

        def capture_end(self):
            log.append("captured")

        def replay(self):
            log.append("replay")

    class Stream:
        def __init__(self, device):
            self.device = device

        def wait_stream(self, other):
            log.append(f"{self.device} waits for {other}")

    @contextmanager
    def entered(what):
        log.append(f"on {getattr(what, 'device', what)}")
        yield
        log.append("left")

    for name, fake in (
        ("CUDAGraph", Graph), ("Stream", Stream), ("stream", entered), ("device", entered),
        ("current_stream", lambda device: f"the stream of {device}"),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, fake)
    replayed = batched.Replayed(where)
    for _ in range(3):
        replayed(lambda: log.append("launch"))
    assert log == [
        "launch", "on cuda:1", "cuda:1 waits for the stream of cuda:1", "on cuda:1", "capture, thread_local", "launch",
        "captured", "left", "left", "replay", "replay",
    ]  # fmt: skip


def test_a_search_does_not_outlive_its_call(batched, monkeypatch, device):
    searches, run = [], batched.Search.run
    monkeypatch.setattr(batched.Search, "run", lambda self: (searches.append(weakref.ref(self)), run(self)))
    gc.disable()
    try:
        batched.gradient_matching(*arguments([9], [3], device))
        assert [search() for search in searches] == [None]
    finally:
        gc.enable()
