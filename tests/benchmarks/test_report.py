"""The report: numbers from files only, no speed-up over a better answer, documents."""

from __future__ import annotations

from dataclasses import replace

import pytest

from acs_fast.benchmark import Run, read
from benchmarks import RESULTS, bars, markdown, report


def changed(run: Run, opponent: str, **fields) -> Run:
    return replace(run, rows=[replace(r, **fields) if r.opponent == opponent else r for r in run.rows])


def test_table_has_ratios_spread_and_every_row(run):
    text = report.tables([run])
    assert "| BLAS + submodlib lazy | 2.5 (2.2 to 2.8) | 3 | 10 | 1024 | 10 |" in text
    assert "| BLAS + apricot lazy | out of memory: MemoryError: no |" in text
    assert "| published recipe | not run: too slow |" in text
    assert "| random subset | 0.001 | 1 (cold) |  | 0 | 14 |" in text


def test_no_speed_up_over_a_better_answer(run):
    better = changed(run, "blas-submodlib", quality={"objective": 9.0})
    assert "| BLAS + submodlib lazy | 2.5 (2.2 to 2.8) | 3 |  | 1024 | 9 |" in report.tables([better])
    assert "for a better answer" in report.headlines([better])
    verdict = bars.verdicts(better)[0]
    assert verdict.met is False
    assert "times" not in verdict.found


def test_a_row_that_differs_has_no_figures(run):
    wrong = changed(run, "ours-cpu", status="differs", reason="objective 11 where reference has 10", seconds=[])
    text = report.tables([wrong])
    assert "| acs_fast, compiled | differs: objective 11 where reference has 10 | | | | |" in text
    assert "| BLAS + submodlib lazy | 2.5 (2.2 to 2.8) | 3 |  | 1024 | 10 |" in text


def test_footer_names_machine_versions_commit_and_date(run):
    text = report.footer(run)
    for part in ("2026-01-02", "abc1234", "Test CPU", "2 cores", "torch 2.13.0", "compiler gcc 12", "3 passed"):
        assert part in text
    assert "local changes" in report.footer(replace(run, commit={**run.commit, "dirty": True}))
    assert "interrupted" in report.footer(replace(run, complete=False))


def test_newest_file_wins_case_by_case_and_quick_runs_do_not_count(run, tmp_path):
    run.write(tmp_path / "a.json")
    later = replace(
        run, date="2026-02-01T00:00:00+00:00", cases=run.cases[:1], rows=run.of_case("craig-5k"), finished=["craig-5k"]
    )
    later.write(tmp_path / "b.json")
    replace(later, date="2026-03-01T00:00:00+00:00", quick=True).write(tmp_path / "c.json")
    replace(later, date="2026-04-01T00:00:00+00:00", finished=[], complete=False).write(tmp_path / "d.json")
    first, second = report.newest(tmp_path, "cpu")
    assert [case["name"] for case in first.cases] == ["craig-5k"]
    assert "craig-5k" not in {case["name"] for case in second.cases}
    assert report.newest(tmp_path, "cuda") == []


def test_command_writes_document_plots_and_readme(run, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    run.write(tmp_path / "results" / "ops" / "a.json")
    readme, docs = tmp_path / "README.md", tmp_path / "docs" / "benchmarks.md"
    readme.write_text(f"# x\n{markdown.START}\nold\n{markdown.END}\ny\n")
    paths = ["--results", str(tmp_path / "results"), "--readme", str(readme), "--docs", str(docs)]
    assert report.main(paths) == 0
    assert "![growth-n-cpu](../results/ops/growth-n-cpu.png)" in docs.read_text()
    assert (tmp_path / "results" / "ops" / "growth-n-cpu.png").stat().st_size > 10_000
    head, _, table = readme.read_text().partition(markdown.START)
    assert head == "# x\n"
    assert "| CRAIG | 0.25 s (compiled) |  | 2.5 s: 10 times (BLAS + submodlib lazy) |" in table
    assert "old" not in table
    assert table.endswith(f"{markdown.END}\ny\n")
    readme.write_text("# x\n")
    assert report.main(paths) == 1
    assert "markers" in capsys.readouterr().err
    assert readme.read_text() == "# x\n"


def test_no_results_is_an_error(tmp_path, capsys):
    assert report.main(["--results", str(tmp_path), "--docs", str(tmp_path / "b.md")]) == 1
    assert "no results files" in capsys.readouterr().err


def test_every_file_that_is_kept_can_be_read():
    for suite in ("ops", "step"):
        runs = [read(path) for path in (RESULTS / suite).glob("*.json")]
        assert runs
        assert all(run.rows and run.finished for run in runs)
