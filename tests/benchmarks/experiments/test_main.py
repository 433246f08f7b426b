"""The command that runs experiments: a tiny one from end to end and again, deadlines, options."""

import json
from dataclasses import replace

from benchmarks.experiments import __main__ as command
from benchmarks.experiments import report, trial
from benchmarks.experiments import results as files
from tests.benchmarks.experiments.tiny import TINY


def run(folder, *more):
    paths = ["--output", folder / "results", "--scratch", folder / "scratch"]
    return command.main(["E1", "--data", "digits", "--jobs", "1", "--seeds", "1", *map(str, paths), *more])


def test_experiment_from_end_to_end_and_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(command.EXPERIMENTS, "E1", TINY)
    assert run(tmp_path) == 0
    path = tmp_path / "results" / "E1-digits.json"
    found = files.read(path)
    by_label = {r.label: r for r in found.runs}
    assert found.complete
    assert (found.processes, found.threads_per_process, found.data) == (1, 1, "digits")
    assert by_label["none"].state == "not run"
    assert "selector must be one of" in by_label["none"].reason
    for label in ("full", "CRAIG", "wrong", "short"):
        measured = by_label[label].result
        assert {"best", "last", "average"} == measured["test"].keys()
        assert {"attack", "step", "selection", "validation"} <= measured["seconds"].keys()
    spent = {label: files.cost(by_label[label].result) for label in ("full", "CRAIG")}
    wanted = max(1, round(6 * spent["CRAIG"] / spent["full"]))
    assert by_label["short"].result["config"]["epochs"] == wanted
    (text,) = report.sections(path.parent, tmp_path)
    assert "(results/E1-digits.png)" in text
    assert "\n| CRAIG" in text
    assert "none (half): selector must be one of" in text
    assert (tmp_path / "results" / "E1-digits.png").read_bytes()[:4] == b"\x89PNG"
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "scratch").rglob("result.json")}
    assert len(kept) == (3 if wanted == 6 else 4)  # with as many epochs "short" is the run of "full"
    monkeypatch.setitem(command.EXPERIMENTS, "E1", replace(TINY, variants=TINY.variants[:3]))
    assert run(tmp_path) == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "scratch").rglob("result.json")} == kept
    monkeypatch.setattr(command, "code_version", lambda: "another")
    monkeypatch.setitem(command.EXPERIMENTS, "E1", replace(TINY, variants=TINY.variants[:1]))
    assert run(tmp_path) == 0
    assert len(list((tmp_path / "scratch").rglob("result.json"))) == len(kept) + 1
    capsys.readouterr()


def test_no_run_starts_after_the_deadline(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(command.EXPERIMENTS, "E1", TINY)
    assert run(tmp_path, "--minutes", "0") == 0
    content = json.loads((tmp_path / "results" / "E1-digits.json").read_text())
    assert not content["complete"]
    assert all(r["result"] is None for r in content["runs"])
    assert "No run has finished yet" in report.sections(tmp_path / "results", tmp_path)[0]


def test_bad_options_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv(trial.VARIABLE, raising=False)
    assert command.main(["E1", "--data", str(tmp_path / "nothing")]) == 2
    assert command.main(["E1", "--data", "digits", "--jobs", "0"]) == 2
    err = capsys.readouterr().err
    assert "--data must be 'digits' or a folder" in err
    assert "--jobs must be at least 1; got 0" in err
