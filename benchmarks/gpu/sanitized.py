"""A small case of every GPU kernel, for compute-sanitizer: `compute-sanitizer --tool memcheck python -m ...`."""

from __future__ import annotations

import torch

from acs_fast.ops.packed import packed_greedy, packed_layout


def main() -> None:
    for sizes, budgets in (([150, 70], [12, 9]), ([20] * 150, [5] * 150), ([17000], [2])):
        layout, elements = packed_layout(torch.tensor([0, *sizes]).cumsum(0))
        data = torch.zeros(elements, device="cuda")
        largest = torch.zeros(len(sizes), device="cuda")
        for i, (_, n, start, stride) in enumerate(layout.tolist()):
            x = torch.randn(n, 3, generator=torch.Generator().manual_seed(i)).round().cuda()
            d = torch.cdist(x, x)
            data.as_strided((n, n), (stride, 1), start).copy_(torch.minimum(d, d.T))
            largest[i] = torch.minimum(d, d.T).max()
        k = sum(budgets)
        found = torch.ops.acs_fast.packed_greedy(data, layout, torch.tensor(budgets), k, largest, True)
        expected = packed_greedy(data.cpu(), layout, torch.tensor(budgets), k, largest.cpu(), True)
        same = all(torch.equal(f.cpu(), e) for f, e in zip(found, expected, strict=True))
        print(f"{len(sizes)} groups, {k} picks: {'equal to' if same else 'DIFFERENT FROM'} the reference")
        if not same:
            raise SystemExit(1)


if __name__ == "__main__":
    import acs_fast  # noqa: F401  (registers the operators)

    main()
