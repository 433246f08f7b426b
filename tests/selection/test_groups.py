"""Groups and the budget they share."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from acs_fast.selection.groups import partition

CPU = torch.device("cpu")


def test_partition_is_stable_and_ascending():
    groups = partition(torch.tensor([7, -1, 7, 3, -1]), 5, CPU)
    assert [g.tolist() for g in groups] == [[1, 4], [3], [0, 2]]
    assert groups.sizes.tolist() == [2, 1, 2]


@pytest.mark.parametrize(
    ("sizes", "budget", "shares"),
    [
        ([50, 30, 20], 10, [5, 3, 2]),
        ([5, 5, 5], 10, [4, 3, 3]),  # equal remainders: the lowest first
        ([97, 2, 1], 10, [8, 1, 1]),  # at least one each, from the richest
        ([1], 1, [1]),
        ([3, 4], 7, [3, 4]),
    ],
)
def test_share_by_largest_remainder(sizes, budget, shares):
    groups = partition(torch.repeat_interleave(torch.tensor(sizes)), sum(sizes), CPU)
    assert groups.share(budget).tolist() == shares


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.data())
def test_share_is_exact_fair_and_possible(sizes, data):
    budget = data.draw(st.integers(len(sizes), sum(sizes)))
    shares = partition(torch.repeat_interleave(torch.tensor(sizes)), sum(sizes), CPU).share(budget).tolist()
    assert sum(shares) == budget
    assert all(1 <= k <= n for k, n in zip(shares, sizes, strict=True))
    # nobody who got more than one is a whole sample above the quota
    assert all(k == 1 or k < n * budget / sum(sizes) + 1 for k, n in zip(shares, sizes, strict=True))


def test_bad_groups_are_named():
    with pytest.raises(ValueError, match=r"groups must have shape \[4\], one id per sample; got \[3\]"):
        partition(torch.zeros(3, dtype=torch.int64), 4, CPU)
    with pytest.raises(TypeError, match=r"groups must hold integers; got torch.float32"):
        partition(torch.zeros(4), 4, CPU)
    with pytest.raises(TypeError, match=r"groups must be a torch.Tensor or a NumPy array; got list"):
        partition([0, 1], 2, CPU)
    with pytest.raises(ValueError, match="budget must be at least the number of groups, 3"):
        partition(torch.arange(3), 3, CPU).share(2)
