"""A small case of every GPU kernel, for compute-sanitizer: `compute-sanitizer --tool memcheck python -m ...`.

Inputs are made on the CPU, so that little but our own kernels runs under the tool.
"""

from __future__ import annotations

import sys

import torch

from acs_fast.ops import device
from acs_fast.ops.problems import Problems
from acs_fast.ops.reference import facility_location
from acs_fast.ops.reference import residuals as reference
from acs_fast.ops.reference.packed_greedy import packed_greedy, packed_layout
from acs_fast.ops.residuals import cross_entropy_residuals, trades_residuals

CASES = {
    "teams that follow all rows": ([150, 70], [12, 9]),
    "a queue of small groups": ([20] * 150, [5] * 150),
    "a team that shares the rows": ([17000], [2]),
}


def cuda_greedy(sizes: list[int], budgets: list[int]) -> bool:
    """Whether the compiled greedy returns what the reference does."""
    layout, elements = packed_layout(torch.tensor([0, *sizes]).cumsum(0))
    data, largest = torch.zeros(elements), torch.zeros(len(sizes))
    for i, (_, n, start, stride) in enumerate(layout.tolist()):
        x = torch.randn(n, 3, generator=torch.Generator().manual_seed(i)).round()
        d = torch.cdist(x, x)
        data.as_strided((n, n), (stride, 1), start).copy_(torch.minimum(d, d.T))
        largest[i] = torch.minimum(d, d.T).max()
    shares, k = torch.tensor(budgets), sum(budgets)
    found = torch.ops.acs_fast.packed_greedy(data.cuda(), layout, shares, k, largest.cuda(), True)
    expected = packed_greedy(data, layout, shares, k, largest, True)
    return all(torch.equal(f.cpu(), e) for f, e in zip(found, expected, strict=True))


def triton_selection(passes: int, dtype: torch.dtype, workspace_bytes: int) -> bool:
    """Whether selection by Triton alone, on matrices or without, comes to the reference's objective."""
    generator = torch.Generator().manual_seed(0)
    r, h = (torch.randn(110, passes, width, generator=generator).to(dtype) for width in (7, 33))
    r[5], h[5] = r[17], h[17]
    members, offsets, budgets = (
        torch.randperm(110, generator=generator),
        torch.tensor([0, 70, 110]),
        torch.tensor([6, 4]),
    )
    problems = Problems(members, offsets, budgets, 10)
    on_gpu = problems._replace(members=members.cuda())
    found = device.facility_location(r.cuda(), h.cuda(), True, False, on_gpu, workspace_bytes, backend="triton")
    expected = facility_location.facility_location(r.double(), h.double(), True, False, problems, 1 << 30)
    return torch.allclose(found[3].cpu(), expected[3], rtol=1e-3)


def triton_matching(passes: int) -> bool:
    """Whether gradient matching picks what the reference does; its launches one by one, which the tool can follow."""
    from acs_fast.ops.reference import gradient_matching as reference
    from acs_fast.ops.triton import gradient_matching

    gradient_matching.Replayed = lambda device: lambda work: work()  # type: ignore[assignment, misc]
    gradient_matching.ROUNDS = 4
    generator = torch.Generator().manual_seed(0)
    r, h = (torch.randn(110, passes, width, generator=generator) for width in (7, 33))
    offsets, budgets = torch.tensor([0, 70, 110]), torch.tensor([12, 8])
    problems = Problems(torch.randperm(110, generator=generator), offsets, budgets, 20)
    target = torch.randn(2, 7, 34, generator=generator, dtype=torch.float64)
    on_gpu = problems._replace(members=problems.members.cuda())
    found = gradient_matching.gradient_matching(r.cuda(), h.cuda(), True, on_gpu, target.cuda(), 0.0)
    return torch.equal(found[0].cpu(), reference.gradient_matching(r, h, True, problems, target, 0.0)[0])


def residuals(classes: int) -> bool:
    """Whether both residual kernels agree with the reference."""
    clean, adversarial = torch.randn(2, 9, classes, generator=torch.Generator().manual_seed(0))
    y = torch.arange(9) % classes
    pairs = (
        (cross_entropy_residuals(clean.cuda(), y.cuda()), reference.cross_entropy_residuals(clean, y)),
        (trades_residuals(clean.cuda(), adversarial.cuda(), y.cuda(), 6.0),
         reference.trades_residuals(clean, adversarial, y, 6.0)),
    )  # fmt: skip
    return all(torch.allclose(found.cpu(), wanted, atol=1e-4) for found, wanted in pairs)


def main() -> int:
    results = {}
    if device.has_cuda_greedy():
        results = {f"greedy, {name}": cuda_greedy(*case) for name, case in CASES.items()}
    if device.has_triton():
        for passes, dtype in ((1, torch.float32), (2, torch.float32), (1, torch.bfloat16)):
            for workspace in (1 << 30, 0):
                name = f"Triton, R = {passes}, {dtype}, {'matrices' if workspace else 'matrix-free'}"
                results[name] = triton_selection(passes, dtype, workspace)
        results.update({f"matching, R = {passes}": triton_matching(passes) for passes in (1, 2)})
        results.update({f"residuals of {classes} classes": residuals(classes) for classes in (10, 5000)})
    for name, same in results.items():
        print(f"{name}: {'as' if same else 'NOT AS'} the reference")
    return 0 if results and all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
