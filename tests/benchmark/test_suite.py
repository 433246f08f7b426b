"""The cases of `acs-fast bench`: every operator, at sizes of one's own."""

from __future__ import annotations

import pytest
import torch

from acs_fast.benchmark.suite import LIKE, OPERATORS, WORK, Shape, cases
from acs_fast.ops import backends, cpu


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


@pytest.mark.parametrize("case", cases(Shape(100, 5, 8), "cuda", peers=False), ids=lambda case: case.name)
def test_those_with_kernels_take_part_and_no_others(monkeypatch, case):
    monkeypatch.setattr(backends, "why_missing", lambda backend: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    op = OPERATORS[case.task]
    assert ("ours-cpu" in case.opponents) == (op in cpu.IMPLEMENTATIONS)
    for backend in ("triton", "cuda"):
        try:
            there = backends.chosen(op, backend, torch.device("cuda")) == backend
        except RuntimeError:
            there = False
        assert (f"ours-{backend}" in case.opponents) == there
        assert (f"ours-{backend}" in case.not_run) != there


def test_matching_on_a_gpu_is_triton_s():
    matching = [case for case in cases(Shape(100, 5, 8), "cuda", peers=False) if case.task == "matching"]
    assert matching
    assert {case.opponents for case in matching} == {("ours-reference", "ours-cpu", "ours-triton")}


def test_peers_can_be_left_out_and_do_no_half_precision():
    assert all(name.startswith("ours") for c in cases(Shape(), "cpu", peers=False) for name in c.opponents)
    assert all(name.startswith("ours") for c in cases(Shape(dtype="bfloat16"), "cpu") for name in c.opponents)
    assert any("apricot" in name for c in cases(Shape(), "cpu") for name in c.opponents)


@pytest.mark.parametrize(("name", "value"), [("n", 1), ("classes", 1), ("dim", 0), ("fraction", 0.0), ("fraction", 2)])
def test_impossible_sizes_are_named(name, value):
    with pytest.raises(ValueError, match=f"--{name} must be"):
        Shape(**{name: value})
