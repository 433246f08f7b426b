"""A plain LightningModule trains on the coreset, validates, and resumes, in one process and in two."""

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("lightning")
pytestmark = pytest.mark.filterwarnings("ignore")

from tests.integrations.lightning_run import Module, N, data, trainer  # noqa: E402


def fit(folder, epochs=7, resume=None, **options):
    module = Module()
    run = trainer(folder, epochs, **options)
    run.fit(module, datamodule=data(module), ckpt_path=resume)
    return module, run


def test_epochs_follow_the_schedule_and_all_are_validated(tmp_path):
    module, run = fit(tmp_path, enable_checkpointing=False)
    coreset = run.datamodule.coreset
    assert sorted(module.seen[0]) == list(range(N))
    assert [len(module.seen[k]) for k in range(1, 7)] == [18] * 6
    assert sorted(module.seen[6]) == sorted(coreset.current.indices.tolist())
    assert [h["epoch"] for h in coreset.history] == [4, 7]
    assert sorted(set(module.validated)) == list(range(7))


@pytest.mark.parametrize("stop", [1, 4])
def test_resumes_to_the_same_bits(tmp_path, stop):
    whole, _ = fit(tmp_path, enable_checkpointing=False)
    first, run = fit(tmp_path, epochs=stop)
    run.save_checkpoint(tmp_path / "state.ckpt")
    second, _ = fit(tmp_path, resume=tmp_path / "state.ckpt")
    assert second.seen == {k: whole.seen[k] for k in range(stop, 7)}
    for a, b in zip(whole.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    assert first.seen == {k: whole.seen[k] for k in range(stop)}


def test_two_processes_see_a_partition(tmp_path):
    script = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run(
        [*script, "-m", "tests.integrations.lightning_run", str(tmp_path)], check=True, env=environment, timeout=300,
        capture_output=True,
    )  # fmt: skip
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.equal(one["picks"], two["picks"])
    assert all(torch.equal(a, b) for a, b in zip(one["weights"], two["weights"], strict=True))
    assert sorted(one["seen"][0] + two["seen"][0]) == list(range(N))
    assert sorted(one["seen"][6] + two["seen"][6]) == sorted(one["picks"].tolist())


def test_a_trainer_that_cannot_follow_is_refused(tmp_path):
    with pytest.raises(ValueError, match="reload_dataloaders_every_n_epochs=1"):
        fit(tmp_path, reload_dataloaders_every_n_epochs=0)
    with pytest.raises(ValueError, match=r"max_epochs of at most 7, .* got 10"):
        fit(tmp_path, epochs=10)
