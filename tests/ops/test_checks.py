"""What bad input gets."""

import pytest
import torch

from acs_fast.testing import require_backend
from tests.ops.arguments import FACTORS, MEMBERS, OFFSETS, SHARES

R, H = FACTORS.residuals, FACTORS.features
GROUPS = (MEMBERS, OFFSETS, SHARES, 10)
BAD = [
    ("pairwise_distances", (R.long(), H, True, False), TypeError, "residuals"),
    ("pairwise_distances", (R, H.double(), True, False), TypeError, "dtype"),
    ("pairwise_distances", (R[:, 0], H[:, 0], True, False), ValueError, "residuals"),
    ("pairwise_distances", (R[:5], H, True, False), ValueError, "agree"),
    ("greedy", (torch.ones(3, 4), 1), ValueError, "square"),
    ("greedy", (torch.ones(3, 3).long(), 1), TypeError, "float"),
    ("greedy", (torch.ones(3, 3), 4), ValueError, "budget"),
    ("greedy", (torch.ones(3, 3), -1), ValueError, "budget"),
    ("greedy", (torch.full((3, 3), torch.nan), 1), ValueError, "finite"),
    ("greedy", (torch.full((3, 3), torch.inf), 1), ValueError, "finite"),
    ("greedy", (-torch.ones(3, 3), 1), ValueError, ">= 0"),
    ("facility_location", (R, H, True, False, MEMBERS + 1, *GROUPS[1:], 0), ValueError, "members"),
    ("facility_location", (R, H, True, False, MEMBERS.int(), *GROUPS[1:], 0), TypeError, "members"),
    ("facility_location", (R, H, True, False, MEMBERS, OFFSETS.flip(0), *GROUPS[2:], 0), ValueError, "offsets"),
    ("facility_location", (R, H, True, False, MEMBERS, OFFSETS, torch.tensor([21, 4]), 25, 0), ValueError, "budgets"),
    ("facility_location", (R, H, True, False, MEMBERS, OFFSETS, SHARES, 11, 0), ValueError, "budget"),
    ("gradient_matching", (R, H, True, *GROUPS, torch.ones(2, 4, 9), 0.0), ValueError, "targets"),
    ("gradient_matching", (R, H, True, *GROUPS, torch.ones(2, 4, 10), -1.0), ValueError, "ridge"),
    ("packed_greedy", (torch.ones(9), torch.tensor([[0, 3, 1, 3]]), torch.tensor([2]), 2, torch.ones(1), True),
     ValueError, "within 9"),
    ("cross_entropy_residuals", (torch.zeros(2, 3), torch.tensor([-(2**63), 1])), ValueError, r"labels must .*3\)"),
    ("trades_residuals", (torch.zeros(2, 3), torch.zeros(2, 3), torch.tensor([0, 3]), 1.0), ValueError, "got 3"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "args", "kind", "message"), BAD)
def test_bad_input_is_an_error(op, args, kind, message):
    require_backend("cpu")
    with pytest.raises(kind, match=message):
        getattr(torch.ops.acs_fast, op)(*args)
