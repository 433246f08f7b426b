"""A memory limit holds for a whole call of `facility_location`: the peak above the inputs, as the system counts it."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch

import acs_fast as acs
from acs_fast.benchmark import worker
from acs_fast.testing import require_backend

MIB = 1 << 20
N, K = 4_000, 400  # a matrix of 61 MiB


def inputs(kind: str) -> acs.LastLayerGradients:
    generator = torch.Generator().manual_seed(0)
    r, h = torch.randn(N, 10, generator=generator), torch.randn(N, 64, generator=generator)
    if kind == "ties":  # so many candidates with the best gain that their panels are worth tiles
        r, h = r[:20].repeat(N // 20, 1), h[:20].repeat(N // 20, 1)
    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
    return acs.LastLayerGradients(r.to(dtype), h.to(dtype), bias=True)


def peaks(kind: str) -> list[tuple[int, int | None, str, list[int]]]:
    """Limit in MiB, peak in bytes, path and picks for every limit."""
    torch.set_num_threads(2)
    g = inputs(kind)
    acs.facility_location(g[:1000], 10, backend="cpu", memory=4 * MIB)  # pages of code, and what torch does at first
    acs.facility_location(g[:1000], 10, backend="cpu")
    found = []
    for limit in (12, 20, 32, 48, 62, 64, 80, 200):
        coreset, took = worker.measured(
            lambda limit=limit: acs.facility_location(g, K, backend="cpu", memory=limit * MIB), "cpu"
        )
        found.append((limit, took["peak_bytes"], coreset.stats["path"], coreset.indices.tolist()))
    return found


@pytest.mark.ordinary_memory
@pytest.mark.parametrize("kind", ["random", "ties", "bfloat16"])
def test_peak_is_within_the_limit(kind):
    """In a process of its own: what others have left on the heap changes what the system counts."""
    require_backend("cpu")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        found = alone.submit(peaks, kind).result()
    if any(peak is None for _, peak, _, _ in found):
        pytest.skip("the system does not tell the peak")
    assert all(peak <= limit * MIB for limit, peak, _, _ in found), [(f[0], f[1], f[2]) for f in found]
    assert {path for _, _, path, _ in found} == {"matrix-free", "dense"}
    assert all(picks == found[0][3] for _, _, _, picks in found)
