"""Arguments for every operator."""

import torch

from tests.ops.cases import problems, random

MEMBERS, OFFSETS = problems([20, 13])
SHARES = torch.tensor([6, 4])
FACTORS = random(33, 4, 9)


def arguments(op, f=FACTORS):
    r, h, bias = f
    targets = torch.ones(2, r.shape[2], h.shape[2] + 1, dtype=torch.float64)
    return {
        "pairwise_distances": (r, h, bias, False),
        "greedy": (torch.cdist(h[:, 0].float(), h[:, 0].float()), 10),
        "facility_location": (r, h, bias, False, MEMBERS, OFFSETS, SHARES, 10, 1 << 30),
        "gradient_matching": (r, h, bias, MEMBERS, OFFSETS, SHARES, 10, targets, 0.0),
        "packed_greedy": (
            torch.arange(569.0).sin().abs(), torch.tensor([[0, 20, 0, 20], [20, 13, 400, 13]]), SHARES, 10,
            torch.ones(2), False,
        ),
        "cross_entropy_residuals": (h[:, 0], torch.arange(len(h)) % 9),
        "trades_residuals": (h[:, 0], h[:, 0].flip(0), torch.arange(len(h)) % 9, 6.0),
    }[op]  # fmt: skip
