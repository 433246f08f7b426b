"""A memory limit holds for a whole call of `facility_location`: the peak above the inputs, as the system counts it."""

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


@pytest.mark.ordinary_memory
@pytest.mark.parametrize("kind", ["random", "ties", "bfloat16"])
def test_peak_is_within_the_limit(kind, restore_threads):
    require_backend("cpu")
    torch.set_num_threads(2)
    g = inputs(kind)
    acs.facility_location(g[:1000], 10, backend="cpu", memory=4 * MIB)  # pages of code, and what torch does at first
    acs.facility_location(g[:1000], 10, backend="cpu")
    selected, paths = [], set()
    for limit in (12, 20, 32, 48, 62, 64, 80, 200):
        coreset, took = worker.measured(
            lambda limit=limit: acs.facility_location(g, K, backend="cpu", memory=limit * MIB), "cpu"
        )
        if took["peak_bytes"] is None:
            pytest.skip("the system does not tell the peak")
        assert took["peak_bytes"] <= limit * MIB, (limit, coreset.stats["path"])
        selected.append(coreset.indices)
        paths.add(coreset.stats["path"])
    assert paths == {"matrix-free", "dense"}
    assert all(torch.equal(indices, selected[0]) for indices in selected)
