"""What only a GPU can show: the CPU's picks, equal over repeats, no waiting for the host, memory running out."""

from __future__ import annotations

import pytest
import torch

import acs_fast as acs
from acs_fast.ops import compiled
from acs_fast.ops import device as ops
from acs_fast.ops.reference.packed_greedy import packed_greedy, packed_layout
from tests.gpu import cases
from tests.gpu import matching_problems as matching
from tests.gpu.requirements import need, need_gpu, need_triton

SIZES = {
    "one": ([1], [1]),
    "small groups": ([20] * 300, [6] * 300),
    "a few large": ([1500, 700, 900], [200, 100, 90]),
    "one large": ([4000], [400]),
    "larger than blocks follow by themselves": ([17000], [40]),
    "mixed": ([3000, *[50] * 200], [300, *[9] * 200]),
}


@pytest.fixture(autouse=True)
def cuda_greedy():
    need_gpu("cuda")
    need("cuda", ops.has_cuda_greedy(), "the compiled module has no CUDA kernels")


def packed(sizes, ties, dtype=torch.float32):
    layout, elements = packed_layout(torch.tensor([0, *sizes]).cumsum(0))
    data, largest = torch.full((elements,), torch.nan, dtype=dtype, device="cuda"), []
    for i, (_, n, start, stride) in enumerate(layout.tolist()):
        x = torch.randn(n, 4, generator=torch.Generator().manual_seed(i)).cuda().to(dtype)
        d = torch.cdist(x.round(), x.round()) if ties else torch.cdist(x, x)
        d = torch.minimum(d, d.T).fill_diagonal_(0.0)
        data.as_strided((n, n), (stride, 1), start).copy_(d)
        largest.append(d.max())
    return data, layout, torch.stack(largest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", SIZES)
def test_picks_are_the_cpu_s_bit_for_bit(name, ties, dtype):
    sizes, budgets = SIZES[name]
    data, layout, largest = packed(sizes, ties, dtype)
    k = sum(budgets)
    found = torch.ops.acs_fast.packed_greedy(data, layout, torch.tensor(budgets), k, largest, True)
    expected = packed_greedy(data.cpu(), layout, torch.tensor(budgets), k, largest.cpu(), True)
    for part, f, e in zip(("picks", "gains", "weights", "assignment", "objective"), found, expected, strict=True):
        assert torch.equal(f.cpu(), e), part


def test_equal_over_twenty_repeats():
    sizes, budgets = [1500, 700, 900], torch.tensor([200, 100, 90])
    data, layout, largest = packed(sizes, True)
    runs = [torch.ops.acs_fast.packed_greedy(data, layout, budgets, 390, largest, True) for _ in range(20)]
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))


def test_no_waiting_for_the_host(monkeypatch):
    data, layout, largest = packed([500, 300], False)
    budgets = torch.tensor([50, 30])
    torch.ops.acs_fast.packed_greedy(data, layout, budgets, 80, largest, True)
    search = matching_search()
    search.round()
    torch.cuda.set_sync_debug_mode("error")
    try:
        torch.ops.acs_fast.packed_greedy(data, layout, budgets, 80, largest, True)
        for _ in range(10):
            search.round()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("objective", [acs.Vanilla(), acs.WithAttack(lambda x, y: x, acs.TRADES(6.0, 0.1, 0.1, 1))])
def test_extraction_does_not_wait_between_batches(objective, monkeypatch):
    need_triton()
    monkeypatch.setattr(type(objective), "perturb", lambda self, model, x, y: x)  # what an attack does is its own
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5)).cuda()
    x, y = torch.rand(4, 32, 12, device="cuda"), torch.arange(128, device="cuda").view(4, 32) % 5

    def batches():
        yield x[0], y[0]
        torch.cuda.set_sync_debug_mode("error")
        yield from zip(x[1:], y[1:], strict=True)
        torch.cuda.set_sync_debug_mode("default")

    try:
        g = acs.last_layer_gradients(model, batches(), objective, show_progress=False)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = acs.last_layer_gradients(model.cpu(), zip(x.cpu(), y.cpu(), strict=True), objective)
    torch.testing.assert_close(g.residuals.cpu(), expected.residuals, rtol=1e-4, atol=1e-5)


def test_labels_outside_the_logits_are_found_on_the_gpu_too():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5)).cuda()
    x, y = torch.rand(8, 12, device="cuda"), torch.arange(8, device="cuda")
    with pytest.raises(ValueError, match=r"labels in \[0, 5\)"):
        acs.last_layer_gradients(model, [(x, y)], acs.Vanilla())


def matching_search():
    need_triton()
    from acs_fast.ops.triton.gradient_matching import Given, Search

    r, h, bias, problems, targets, ridge = matching.arguments([200, 100], [60, 30], "cuda", classes=10, width=16)
    given = Given(r, h, problems.members, 10, 16, float(bias))
    search = Search(given, problems.offsets, problems.budgets, targets, ridge)
    search.score()
    search.decide()
    return search


@pytest.mark.parametrize("backend", ["auto", "cuda", "triton", "reference"])
def test_every_backend_end_to_end(backend):
    need_triton()
    r, h = cases.factors(600, 1, 10, 64)
    groups = torch.arange(600) % 4
    expected = acs.facility_location(acs.LastLayerGradients(r[:, 0], h[:, 0]), 0.2, groups=groups, backend="reference")
    g = acs.LastLayerGradients(r[:, 0].cuda(), h[:, 0].cuda())
    found = acs.facility_location(g, 0.2, groups=groups.cuda(), backend=backend)
    assert found.stats["objective"] == pytest.approx(expected.stats["objective"], rel=1e-3)
    assert found.indices.is_cuda


def test_memory_running_out_is_no_exception():
    need_triton()
    n = 30000
    g = acs.LastLayerGradients(torch.randn(n, 4, device="cuda"), torch.randn(n, 8, device="cuda"))
    torch.cuda.empty_cache()  # what is cached would count as allowed
    allowed = torch.cuda.memory_allocated() + (1 << 30)  # the matrix takes 3.4 GiB
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    try:
        found = acs.facility_location(g, 20)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert len(found.indices) == 20
    assert found.stats["path"] == "matrix-free"


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("options", [{}, {"passes": 2, "dtype": torch.bfloat16}, {"kind": "softmax"}], ids=str)
@pytest.mark.parametrize("sizes", [[1500], [400, 1, 150, 300]], ids=str)
def test_matching_has_the_cpu_s_picks(sizes, options, ridge):
    need_triton()
    budgets = [-(-n // 3) for n in sizes]
    options = {"classes": 10, "width": 64, "ridge": ridge, **options}
    r, h, bias, problems, *rest = matching.arguments(sizes, budgets, **options)
    expected = torch.ops.acs_fast.gradient_matching(r, h, bias, *problems, *rest)
    r, h, bias, problems, *rest = matching.arguments(sizes, budgets, "cuda", **options)
    runs = [torch.ops.acs_fast.gradient_matching(r, h, bias, *problems, *rest) for _ in range(5)]
    matching.same(runs[0], expected)
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run, strict=True))


def test_a_graph_does_what_its_launches_do(monkeypatch):
    need_triton()
    from acs_fast.ops.triton import gradient_matching

    arguments = matching.arguments([300, 200], [100, 60], "cuda", classes=10, width=64, kind="softmax")
    captured = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", lambda self: (captured.append(self), replay(self)))
    replayed = gradient_matching.gradient_matching(*arguments)
    assert len(captured) > 1
    monkeypatch.setattr(gradient_matching, "Replayed", lambda device: lambda work: work())
    for one, other in zip(gradient_matching.gradient_matching(*arguments), replayed, strict=True):
        assert torch.equal(one, other)


def test_operators_pass_opcheck():
    need_triton()
    r, h = (x.cuda() for x in cases.factors(40, 1, 3, 8))
    for op, args in (
        ("pairwise_distances", (r, h, True, False)),
        ("greedy", (torch.rand(30, 30, device="cuda"), 5)),
        ("cross_entropy_residuals", (r[:, 0], torch.arange(40, device="cuda") % 3)),
    ):
        torch.library.opcheck(getattr(torch.ops.acs_fast, op).default, args)
    assert compiled.MODULE is not None
