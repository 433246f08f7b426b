"""The CUDA greedy's own source on the host: every thread a fibre, the next one to run chosen at random."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from acs_fast.ops.reference.greedy import scale_exponent
from acs_fast.ops.reference.packed_greedy import packed_greedy
from tests.gpu.emulation import copy_sources
from tests.gpu.requirements import need_tool

SMALL = {
    "THREADS_OF_LARGE": 64, "THREADS_OF_SMALL": 32, "SMALL_ROWS": 60, "ROWS_AT_ONCE": 16, "REPLICATED_ROWS": 80,
    "COLUMNS_PER_BLOCK": 8, "STAGED_BYTES": 2500,
}  # fmt: skip
BLOCK = {"multiprocessors": 4, "resident": 6, "shared_bytes": 1 << 16}
CASES = {
    "one sample": ([1], {}),
    "two samples": ([2], {}),
    "a team whose blocks follow all rows": ([63], {}),
    "a team whose blocks share the rows": ([150], {}),
    "teams and a queue": ([40, 3, 1, 90, 12, 12], {}),
    "a queue, matrices in shared memory": ([20] * 9, {}),
    "a queue of groups too large for shared memory": ([130] * 7, {}),
    "little shared memory": ([150, 70], {"shared_bytes": 8000}),
    "as much shared memory as there is": ([79, 70], {"shared_bytes": 3001}),
    "not symmetric": ([70, 20], {"symmetric": False}),
}


def compiled(folder: Path, *passage: str) -> ctypes.CDLL:
    """The emulation as a shared library."""
    emulator = copy_sources(folder, *passage)
    sizes = [f"-DACS_GREEDY_{name}={value}" for name, value in SMALL.items()]
    flags = ["-std=c++17", "-O1", "-U_FORTIFY_SOURCE", "-fPIC", "-shared", "-w", f"-I{emulator}"]
    library = folder / "emulation.so"
    command = [need_tool("cuda", "g++", "c++"), *flags, *sizes, str(emulator / "greedy.cpp"), "-o", str(library)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("emulation"))


def matrices(sizes, dtype, ties: bool, symmetric: bool):
    """Packed distances, layout and largest distances."""
    rng = np.random.default_rng(len(sizes) + ties)
    found, layout, start = [], [], 0
    for first, n in zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True):
        x = rng.integers(0, 3, (n, 3)).astype(float) if ties else rng.normal(size=(n, 4))
        d = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1)).astype(np.float32)
        found.append((d if symmetric else d + rng.random(d.shape, dtype=np.float32)).astype(dtype))
        layout.append([int(first), n, start, n])
        start += n * n
    flat = torch.from_numpy(np.concatenate([m.ravel() for m in found]))
    return flat, torch.tensor(layout), torch.tensor([m.max() for m in found], dtype=flat.dtype)


def emulate(library, flat, layout, largest, budgets, *, symmetric=True, seed=0, **block):
    """What `packed_greedy` returns, from the emulated kernel."""
    block = {**BLOCK, **block}
    k, n, g = sum(budgets), int(layout[:, 1].sum()), len(budgets)
    first_pick = torch.tensor([0, *budgets]).cumsum(0)[:-1]
    table = torch.stack([layout[:, 2], layout[:, 3], layout[:, 0], first_pick, layout[:, 1], torch.tensor(budgets)], 1)
    picks, assignment = torch.full((k,), -7), torch.full((n,), -7)
    gains, weights = torch.full((k,), torch.nan, dtype=torch.float64), torch.zeros(k)
    objective = torch.zeros(g, dtype=torch.float64)
    run = library.emulate_greedy_float if flat.dtype == torch.float32 else library.emulate_greedy_double
    table = table.contiguous()
    inputs = [ctypes.c_void_p(x.data_ptr()) for x in (flat, largest, table)]
    outputs = [ctypes.c_void_p(x.data_ptr()) for x in (picks, gains, weights, assignment, objective)]
    sizes = (block["multiprocessors"], block["resident"], ctypes.c_int64(block["shared_bytes"]), ctypes.c_int64(seed))
    status = run(*inputs, g, int(symmetric), *sizes, *outputs)
    assert status >= 0, {-1: "deadlock", -2: "more shared memory than there is"}[status]
    return picks, gains, weights, assignment, objective


def budgets_for(sizes):
    return [n if i % 3 == 0 else max(1, n // 3) for i, n in enumerate(sizes)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_bit_for_bit_the_reference(library, name, ties, dtype):
    sizes, options = CASES[name]
    symmetric = options.get("symmetric", True)
    flat, layout, largest = matrices(sizes, dtype, ties, symmetric)
    budgets = budgets_for(sizes)
    found = emulate(library, flat, layout, largest, budgets, seed=len(name), **options)
    expected = packed_greedy(flat, layout, torch.tensor(budgets), sum(budgets), largest, symmetric)
    for part, f, e in zip(("picks", "gains", "weights", "assignment", "objective"), found, expected, strict=True):
        assert torch.equal(f, e), part


def test_the_order_of_threads_does_not_matter(library):
    flat, layout, largest = matrices([90, 40], np.float32, True, True)
    runs = [emulate(library, flat, layout, largest, [20, 12], seed=seed) for seed in range(5)]
    for one, other in pairwise(runs):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    team.meet(Candidate{0, 0}, s.best[1]);", "    __syncthreads();"),
        ("      clear_entries(p, s, 0, listed);\n      if", "      if"),
        ("      if (threadIdx.x == 0) s.found = 0;\n", ""),
        ("if (found <= kRowsAtOnce) return best;", "return best;"),
    ],
    ids=["teams that do not meet", "a list that is not padded", "a list that is not emptied", "a list that overflows"],
)
def test_the_emulation_notices_a_broken_kernel(tmp_path, old, new):
    broken = compiled(tmp_path, old, new)
    flat, layout, largest = matrices([150, 60], np.float32, False, True)
    expected = packed_greedy(flat, layout, torch.tensor([20, 20]), 40, largest, True)
    child = os.fork()  # a broken kernel may write where it likes
    if child == 0:
        faulthandler.disable()
        runs = (emulate(broken, flat, layout, largest, [20, 20], seed=seed)[0] for seed in range(5))
        try:
            os._exit(0 if all(torch.equal(picks, expected[0]) for picks in runs) else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0, "every schedule gave the right picks"


def test_scale_and_rounding_are_the_reference_s(library):
    library.quantise.restype = ctypes.c_longlong
    for value in (0.0, 1e-300, 1e-30, 0.3, 0.5, 1.0, 7.3, 3e38, 1e300):
        for n in (1, 2, 3, 5000, 4097, 1 << 20):
            found = library.scale_exponent(ctypes.c_double(value), ctypes.c_longlong(n))
            assert found == scale_exponent(value, n), (value, n)
    for half in (0.5, 1.5, 2.5, 3.5):
        assert library.quantise(ctypes.c_double(half), ctypes.c_double(1.0)) == round(half)


@pytest.mark.parametrize("sizes", [[20] * 3, [150]], ids=["a queue", "a team"])
def test_a_launch_leaves_every_other_one_its_shared_memory(library, sizes):
    """The limit is the kernel's, and another thread may be about to launch the same kernel with more."""
    library.shared_allowed.restype = ctypes.c_int64
    flat, layout, largest = matrices(sizes, np.float32, False, True)
    emulate(library, flat, layout, largest, [2] * len(sizes))
    assert library.shared_allowed() == BLOCK["shared_bytes"]


@pytest.mark.parametrize("limit", [65536, 101376, 166912, 232448], ids=["sm_75", "sm_86", "sm_80", "sm_90"])
@pytest.mark.parametrize("element", [4, 8])
def test_no_block_asks_for_more_shared_memory_than_there_is(library, element, limit):
    library.shared_bytes.restype = ctypes.c_int64
    for size in (1, 100, 138, 147, 156, 5000, 9535, 12000, 16384, 50000):
        for count in (1, 200):
            n = np.full(count, size, dtype=np.int64)
            place = n.ctypes.data_as(ctypes.c_void_p)
            for odd in (0, 1, 8):
                assert library.shared_bytes(place, count, element, ctypes.c_int64(limit - odd)) <= limit - odd


@pytest.mark.parametrize(
    ("sizes", "queued"),
    [([50000], 0), ([5000] * 10, 0), ([500] * 100, 100), ([1281] * 1000, 1000), ([20000, *[500] * 100], 100)],
    ids=["one group", "ten", "a hundred", "a thousand", "one large among small"],
)
def test_plan_gives_every_group_its_blocks(library, sizes, queued):
    n = np.array(sizes, dtype=np.int64)
    roles, in_queue = np.zeros((4096, 3), np.int32), ctypes.c_int32()
    blocks = library.plan(
        n.ctypes.data_as(ctypes.c_void_p), len(n), 4, 132, 132, ctypes.c_int64(200 << 10),
        roles.ctypes.data_as(ctypes.c_void_p), ctypes.byref(in_queue),
    )  # fmt: skip
    roles = roles[:blocks]
    assert blocks <= 132
    assert in_queue.value == queued
    assert (queued > 0) == bool((roles[:, 0] == -1).any())
    teams = roles[roles[:, 0] >= 0]
    for group in np.unique(teams[:, 0]):
        own = teams[teams[:, 0] == group]
        assert sorted(own[:, 1]) == list(range(own[0, 2]))
    assert len(np.unique(teams[:, 0])) == len(n) - queued
