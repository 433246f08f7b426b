"""Where the data of an experiment come from."""

from benchmarks.experiments import trial


def test_data_comes_from_the_option_then_the_variable(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv(trial.VARIABLE, str(tmp_path / "b"))
    assert trial.source(None) == (str(tmp_path / "b"), "fashion-mnist")
    assert trial.source(str(tmp_path / "a")) == (str(tmp_path / "a"), "fashion-mnist")
    assert trial.source("digits") == ("digits", "digits")
