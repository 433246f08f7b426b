"""The report: numbers from files only, bars, README markers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import bars, report, results_file
from benchmarks.results_file import Row

FIXTURE = Path(__file__).with_name("run.json")


@pytest.fixture
def run() -> results_file.Run:
    return results_file.read(FIXTURE)


def test_table_has_ratios_spread_and_every_row(run):
    text = report.tables([run])
    assert "| BLAS + submodlib lazy | 2.5 (2.2 to 2.8) | 3 | 10 | 1.00 | 10 |" in text
    assert "| BLAS + apricot lazy | out of memory: MemoryError: no |" in text
    assert "| published recipe | not run: too slow |" in text
    assert "| random subset | 0.001 | 1 (cold) |  | 0.00 | 14 |" in text


def test_footer_names_machine_versions_commit_and_date(run):
    text = report.footer(run)
    for part in ("2026-01-02", "abc1234", "Test CPU", "2 cores", "torch 2.13.0", "compiler gcc 12", "3 passed"):
        assert part in text
    assert "local changes" in report.footer(replace(run, commit={**run.commit, "dirty": True}))
    assert "interrupted" in report.footer(replace(run, complete=False))


def test_bars_are_judged_against_the_best_peer_and_sgemm(run):
    speedup, rate = bars.verdicts(run)
    assert speedup.met
    assert "10 times" in speedup.found
    assert "BLAS + submodlib lazy, the best peer" in speedup.wanted
    assert rate.found.startswith("80% (10 of 12 GFLOP/s)")  # half the products in 10 ms against all in 16 ms
    assert rate.met


def test_a_worse_objective_fails_the_bar(run):
    rows = [replace(r, quality={"objective": 10.1}) if r.opponent == "ours-cpu" else r for r in run.rows]
    assert not bars.verdicts(replace(run, rows=rows))[0].met


def test_without_ours_a_bar_is_not_measured(run):
    rows = [row for row in run.rows if row.kind != "ours"]
    assert {v.met for v in bars.verdicts(replace(run, rows=rows))} == {None}


def test_section_is_replaced_between_its_markers_only():
    cpu, cuda = ((f"<!-- benchmarks:{d} -->", f"<!-- /benchmarks:{d} -->") for d in ("cpu", "cuda"))
    text = "\n".join(["a", cpu[0], "old", cpu[1], "b", *cuda])
    new = report.replace_section(text, "cpu", "new")
    assert new == text.replace("old", "new")
    assert report.replace_section(new, "cpu", "new") == new
    assert report.replace_section("no markers", "cpu", "new") is None


def test_newest_file_wins_case_by_case_and_quick_runs_do_not_count(run, tmp_path):
    run.write(tmp_path / "a.json")
    later = replace(run, date="2026-02-01T00:00:00+00:00", cases=run.cases[:1], rows=run.of_case("craig-5k"))
    later.write(tmp_path / "b.json")
    replace(later, date="2026-03-01T00:00:00+00:00", quick=True).write(tmp_path / "c.json")
    first, second = report.newest(tmp_path, "cpu")
    assert [case["name"] for case in first.cases] == ["craig-5k"]
    assert "craig-5k" not in {case["name"] for case in second.cases}
    assert report.newest(tmp_path, "cuda") == []


def test_command_writes_plots_and_readme(run, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    results = tmp_path / "results"
    run.write(results / "a.json")
    readme = tmp_path / "README.md"
    readme.write_text("# x\n<!-- benchmarks:cpu -->\n<!-- /benchmarks:cpu -->\n")
    assert report.main(["--results", str(results), "--readme", str(readme)]) == 0
    assert "![growth-n-cpu](results/growth-n-cpu.png)" in readme.read_text()
    assert (results / "growth-n-cpu.png").stat().st_size > 10_000
    readme.write_text("# x\n")
    assert report.main(["--results", str(results), "--readme", str(readme)]) == 0
    captured = capsys.readouterr()
    assert "markers" in captured.err
    assert "BLAS + submodlib lazy" in captured.out
    assert readme.read_text() == "# x\n"


def test_no_results_is_an_error(tmp_path, capsys):
    assert report.main(["--results", str(tmp_path)]) == 1
    assert "no results files" in capsys.readouterr().err


def test_another_format_is_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(ValueError, match="format 1"):
        results_file.read(tmp_path / "a.json")


def test_percentiles_interpolate():
    row = Row("c", "o", "t", "ours", "ok", seconds=[4.0, 1.0, 3.0, 2.0, 5.0])
    assert (row.percentile(20), row.median, row.percentile(80)) == (1.8, 3.0, 4.2)
