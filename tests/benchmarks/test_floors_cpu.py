"""Floors and rates of the CPU kernels, measured at a small size."""

import shutil

import pytest
import torch

from acs_fast.benchmark.rows import read_results
from acs_fast.testing import require_backend
from benchmarks import floors_cpu, floors_report


@pytest.fixture(autouse=True)
def small(monkeypatch):
    require_backend("cpu")
    monkeypatch.setattr(floors_cpu, "MATCHING", ((300, 40), (600, 90)))
    monkeypatch.setattr(floors_cpu, "DISTANCES", {200: 1, 300: 2})
    monkeypatch.setattr(floors_cpu, "SMALL_PAGES", 200)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_matching(tmp_path):
    assert floors_cpu.main(["matching", "--repeat", "2", "--output", str(tmp_path / "1-matching.json")]) == 0
    rows = read_results(tmp_path / "1-matching.json", floors_cpu.FORMAT)["rows"]
    for row, (n, k) in zip(rows, floors_cpu.MATCHING, strict=True):
        floor, seconds = row["floor"], row["seconds"]
        assert (row["n"], row["budget"]) == (n, k)
        assert row["atoms_tried"] >= k
        assert floor["floor"] == pytest.approx(floor["correlations"] + floor["least_squares"])
        assert floor["correlations"] <= min(
            floor["screening_only"], floor["needed_columns"] + floor["passes_over_all_columns"]
        ) * (1 + 1e-9)
        assert row["over_floor"] == pytest.approx(seconds["select"] / floor["floor"])
        assert row["group_over_floor"] == pytest.approx(row["seconds_of_a_group"] / floor["floor"])
        assert seconds["columns"] + seconds["screening"] + seconds["refit"] <= seconds["select"]
        if shutil.which("perf") is None:
            assert row["core_seconds"] == {}
    assert "| N = 300, k = 40 | N = 600, k = 90 |" in floors_report.section(tmp_path)


def test_distances(tmp_path):
    assert floors_cpu.main(["distances", "--output", str(tmp_path / "1-distances.json")]) == 0
    small, large = read_results(tmp_path / "1-distances.json", floors_cpu.FORMAT)["rows"]
    assert all(small[rate] > 0.0 for rate in ("first", "fresh", "reused", "rows", "fresh_small_pages"))
    assert "fresh_small_pages" not in large
    assert "| 200 |" in floors_report.section(tmp_path)


def test_the_largest_size_can_be_named(tmp_path):
    file = tmp_path / "distances.json"
    floors_cpu.main(["distances", "--largest", "250", "--output", str(file)])
    assert [row["n"] for row in read_results(file, floors_cpu.FORMAT)["rows"]] == [200]
