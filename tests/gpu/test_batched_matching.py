"""Gradient matching for all groups at once against the reference: same picks, weights and gains."""

from __future__ import annotations

import pytest
import torch

from acs_fast.ops.cuda import gradient_matching as batched_matching
from acs_fast.ops.problems import Problems
from acs_fast.ops.reference import gradient_matching as matching

CASES = {
    "one sample": ([1], [1], {}),
    "three groups": ([40, 7, 90], [10, 3, 20], {}),
    "budgets above the rank": ([60, 30], [50, 28], {}),
    "ridge": ([60, 30], [50, 28], {"ridge": 0.5}),
    "softmax residuals": ([200, 150], [60, 40], {"classes": 10, "width": 16, "kind": "softmax"}),
    "duplicates": ([80], [40], {"kind": "duplicates"}),
    "two passes, no bias": ([120], [20], {"passes": 2, "bias": False}),
    "vectors": ([50], [20], {"classes": 1, "width": 30, "bias": False}),
}


def arguments(sizes, budgets, device="cpu", *, classes=4, width=6, passes=1, ridge=0.0, bias=True, kind="normal"):
    generator = torch.Generator().manual_seed(0)
    n = sum(sizes)
    r = torch.randn(n, passes, classes, generator=generator)
    h = torch.randn(n, passes, width, generator=generator)
    if kind == "softmax":
        y = torch.randint(classes, (n, passes), generator=generator)
        r, h = (2 * r).softmax(-1) - torch.nn.functional.one_hot(y, classes), h.relu()
    if kind == "duplicates":
        r[::2], h[::2] = r[1::2], h[1::2]
    offsets = torch.tensor([0, *sizes]).cumsum(0)
    members = torch.randperm(n, generator=generator)
    targets = torch.stack([
        matching.weighted_total(r[own].double(), h[own].double(), bias, torch.ones(len(own), dtype=torch.float64))
        for own in members.split(sizes)
    ])  # fmt: skip
    problems = Problems(members.to(device), offsets, torch.tensor(budgets), sum(budgets))
    return r.to(device), h.to(device), bias, problems, targets.to(device), ridge


@pytest.mark.parametrize("name", CASES)
def test_equal_to_the_reference(device, name):
    sizes, budgets, options = CASES[name]
    expected = matching.gradient_matching(*arguments(sizes, budgets, **options))
    found = batched_matching.gradient_matching(*arguments(sizes, budgets, device, **options))
    indices, weights, gains, counts = (x.cpu() for x in found)
    assert torch.equal(counts, expected[3])
    assert torch.equal(indices, expected[0])
    torch.testing.assert_close(weights, expected[1], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(gains, expected[2], rtol=1e-8, atol=1e-8 * float(gains.max()))


def test_waves_of_groups_change_nothing(monkeypatch, device):
    args = arguments([40, 7, 90], [10, 3, 20], device)
    whole = batched_matching.gradient_matching(*args)
    monkeypatch.setattr(batched_matching, "workspace_bytes", lambda _: 1)
    assert batched_matching._waves(args[0], args[1], args[3].offsets, args[3].budgets) == [(0, 1), (1, 2), (2, 3)]
    for one, other in zip(whole, batched_matching.gradient_matching(*args), strict=True):
        torch.testing.assert_close(one, other)


def test_growing_and_refreshing_change_nothing(monkeypatch):
    args = arguments([60], [40], classes=10, width=16, kind="softmax")
    expected = matching.gradient_matching(*args)
    for name, value in (("LOOK_EVERY", 3), ("GROW_BY", 7), ("REFRESH_EVERY", 5)):
        monkeypatch.setattr(batched_matching, name, value)
    found = batched_matching.gradient_matching(*args)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-6, atol=1e-9)
