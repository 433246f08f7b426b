"""Problems of gradient matching, and what their solutions must share."""

from __future__ import annotations

import torch

from acs_fast.ops.problems import Problems
from acs_fast.ops.reference import gradient_matching as matching


def arguments(
    sizes, budgets, device="cpu", *, classes=4, width=6, passes=1, ridge=0.0, bias=True, kind="normal",
    dtype=torch.float32, seed=0,
):  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    n = sum(sizes)
    r = torch.randn(n, passes, classes, generator=generator)
    h = torch.randn(n, passes, width, generator=generator)
    if kind == "softmax":
        y = torch.randint(classes, (n, passes), generator=generator)
        r, h = (2 * r).softmax(-1) - torch.nn.functional.one_hot(y, classes), h.relu()
    if kind == "duplicates":
        r[::2], h[::2] = r[1::2], h[1::2]
    r, h = r.to(dtype), h.to(dtype)
    offsets = torch.tensor([0, *sizes]).cumsum(0)
    members = torch.randperm(n, generator=generator)
    targets = torch.stack([
        matching.weighted_total(r[own].double(), h[own].double(), bias, torch.ones(len(own), dtype=torch.float64))
        for own in members.split(sizes)
    ])  # fmt: skip
    problems = Problems(members.to(device), offsets, torch.tensor(budgets), sum(budgets))
    return r.to(device), h.to(device), bias, problems, targets.to(device), ridge


def same(found, expected):
    indices, weights, gains, counts = (x.cpu() for x in found)
    assert torch.equal(counts, expected[3])
    assert torch.equal(indices, expected[0])
    torch.testing.assert_close(weights, expected[1], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(gains, expected[2], rtol=1e-8, atol=1e-8 * max(gains.tolist(), default=0.0))
