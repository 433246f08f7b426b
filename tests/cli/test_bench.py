"""`acs-fast bench` from end to end, as an installed package runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import acs_fast as acs
from acs_fast.benchmark import read
from acs_fast.cli import bench
from acs_fast.cli.main import main

SMALL = ["bench", "--n", "60", "--classes", "3", "--dim", "8", "--device", "cpu", "--repeat", "1"]


@pytest.mark.ordinary_memory
def test_table_and_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # no checkout
    assert main([*SMALL, "--dtype", "float64", "--no-peers"]) == 0
    out = capsys.readouterr().out
    run = read(tmp_path / "acs-fast-bench.json")
    assert run.complete
    assert run.machine["cores"] >= 1
    assert run.versions["torch"]
    assert {case["dtype"] for case in run.cases} == {"float64"}
    for title in ("greedy on given distances", "GradMatch, whole selection", "acs_fast, reference (PyTorch)"):
        assert title in out
    for case in run.cases:
        assert "ours-reference" in {row.opponent for row in run.of_case(case["name"]) if row.ok}


@pytest.mark.ordinary_memory
def test_a_checkout_in_the_present_folder_is_not_what_is_measured(tmp_path):
    checkout = tmp_path / "acs_fast"
    checkout.mkdir()
    (checkout / "__init__.py").write_text("raise RuntimeError('of the present folder')")
    script = tmp_path / "bin" / "acs-fast"  # as an installed one, which does not look into the present folder
    script.parent.mkdir()
    script.write_text(
        "import sys\nfrom acs_fast.cli.main import main\nif __name__ == '__main__':\n    sys.exit(main())"
    )
    command = [sys.executable, str(script), *SMALL, "--no-peers"]
    environment = {**os.environ, "PYTHONPATH": str(Path(acs.__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "greedy on given distances" in done.stdout


def test_nothing_is_printed_when_results_differ(tmp_path, monkeypatch, capsys):
    def differing(run, *_):
        row = bench.runner.Row("greedy", "ours-cpu", "acs_fast, compiled", "ours", "differs", reason="objective 2")
        run.rows.append(row)

    monkeypatch.setattr(bench, "execute", differing)
    output = tmp_path / "run.json"
    assert main([*SMALL, "--output", str(output)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "greedy, acs_fast, compiled: objective 2" in captured.err
    assert not output.exists()


def test_options_change_the_sizes_of_a_data_set():
    parser = bench.argparse.ArgumentParser()
    bench.add_arguments(parser)
    shape = bench.shape_of(parser.parse_args(["--like", "cifar100", "--dim", "64", "--fraction", "0.1"]))
    assert (shape.n, shape.classes, shape.dim, shape.fraction) == (50_000, 100, 64, 0.1)


def test_bad_options_are_named(capsys):
    assert main([*SMALL, "--fraction", "2"]) == 2
    assert "--fraction must be in (0, 1]" in capsys.readouterr().err


def test_the_file_is_json_with_a_format(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(ValueError, match="format 1"):
        read(tmp_path / "a.json")
