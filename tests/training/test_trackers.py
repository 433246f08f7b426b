"""The same figures reach each tracking package in its own way."""

import sys
from types import SimpleNamespace

import pytest

from acs_fast.training.trackers import TRACKERS, open_tracker


class Recorder:
    """Stands for a package: remembers every call by name."""

    id = "a"
    info = SimpleNamespace(run_id="a")

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def call(*arguments, **options):
            self.calls.append((name, arguments, options))
            return self

        return call


@pytest.fixture
def package(monkeypatch):
    recorder = Recorder()
    names = ("SummaryWriter", "init", "start_run", "log_params", "log_metrics", "end_run")
    module = SimpleNamespace(**{name: getattr(recorder, name) for name in names})
    for name in ("torch.utils.tensorboard", "wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, module)
    return recorder


@pytest.mark.parametrize(
    ("name", "logged", "closed"),
    [
        ("tensorboard", ("add_scalar", ("loss", 0.5, 3), {}), "close"),
        ("wandb", ("log", ({"loss": 0.5},), {"step": 3}), "finish"),
        ("mlflow", ("log_metrics", ({"loss": 0.5},), {"step": 3}), "end_run"),
    ],
)
def test_figures_arrive(package, tmp_path, name, logged, closed):
    tracker = open_tracker(name, tmp_path, {"eps": 0.1})
    tracker.log({"loss": 0.5}, 3)
    tracker.close()
    assert logged in package.calls
    assert package.calls[-1][0] == closed


@pytest.mark.parametrize(("name", "begin", "argument"), [("wandb", "init", "id"), ("mlflow", "start_run", "run_id")])
def test_a_resumed_run_goes_on_where_it_was_tracked(package, tmp_path, name, begin, argument):
    for folder in ("one", "one", "other"):
        (tmp_path / folder).mkdir(exist_ok=True)
        open_tracker(name, tmp_path / folder, {"eps": 0.1})
    assert [options[argument] for call, _, options in package.calls if call == begin] == [None, "a", None]


@pytest.mark.parametrize("name", [t for t in TRACKERS if t != "none"])
def test_a_missing_package_is_named(monkeypatch, tmp_path, name):
    module = "torch.utils.tensorboard" if name == "tensorboard" else name
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RuntimeError, match=f"--log needs {name}.*pip install {name}"):
        open_tracker(name, tmp_path, {})


def test_none_keeps_nothing(tmp_path):
    tracker = open_tracker("none", tmp_path, {})
    tracker.log({"loss": 1.0}, 0)
    tracker.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="log must be one of"):
        open_tracker("csv", tmp_path, {})
