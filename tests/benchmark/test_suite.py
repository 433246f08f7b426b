"""The cases of `acs-fast bench`: every operator, at sizes of one's own."""

from __future__ import annotations

import pytest

from acs_fast.benchmark.suite import LIKE, WORK, Shape, cases


@pytest.mark.parametrize("like", LIKE)
def test_sizes_are_those_of_the_data_set_as_far_as_the_reference_path_can_go(like):
    shape = LIKE[like]
    for case in cases(shape, "cpu"):
        assert (case.classes, case.width) == (shape.classes, shape.dim)
        assert case.n <= shape.n
        assert 0 <= case.budget <= shape.fraction * case.n
        assert (case.n / case.groups) ** 2 * case.groups * case.classes * case.width <= 1.01 * WORK
    assert {c.name for c in cases(shape, "cpu")} >= {"pairwise_distances", "greedy", "facility_location", "craig"}


def test_every_backend_takes_part_against_the_reference_path():
    for case in cases(Shape(100, 5, 8), "cuda", peers=False):
        assert case.opponents[0] == "ours-reference"
        assert {"ours-cuda", "ours-triton"} & {*case.opponents}


def test_peers_can_be_left_out_and_do_no_half_precision():
    assert all(name.startswith("ours") for c in cases(Shape(), "cpu", peers=False) for name in c.opponents)
    assert all(name.startswith("ours") for c in cases(Shape(dtype="bfloat16"), "cpu") for name in c.opponents)
    assert any("apricot" in name for c in cases(Shape(), "cpu") for name in c.opponents)


@pytest.mark.parametrize(("name", "value"), [("n", 1), ("classes", 1), ("dim", 0), ("fraction", 0.0), ("fraction", 2)])
def test_impossible_sizes_are_named(name, value):
    with pytest.raises(ValueError, match=f"--{name} must be"):
        Shape(**{name: value})
