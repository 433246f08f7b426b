"""Examples run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAYS = {  # the example and its arguments, and what it must have printed
    "quickstart": r"test accuracy: (8|9)\d.\d% clean, [5-9]\d.\d% under PGD-20",
    "own_selector": "epoch 5: loss",
    "own_objective": "epoch 5: loss",
    "select_only": "100 of 1797 images",
    "lightning_module": "epoch 5: validation accuracy 0.[5-9]",
    "accelerate_loop": "epoch 5: loss",
    "accelerate_loop --mixed-precision bf16": "epoch 5: loss",
    "hf_trainer": r"35 steps, as many as the schedule's 35\n.*epoch 3: gradient error 0",
    "ddp": "epoch 5: loss .* 300 samples on 2 processes",
}
NEEDS = {
    "lightning_module": ["lightning"],
    "accelerate_loop": ["accelerate"],
    "hf_trainer": ["transformers", "datasets"],
}


@pytest.mark.parametrize("example", SAYS)
def test_example_runs(example, tmp_path):
    name, *arguments = example.split()
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"] if name == "ddp" else []
    done = subprocess.run(
        [sys.executable, *launch, ROOT / "examples" / f"{name}.py", *arguments], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(SAYS[example], done.stdout, re.DOTALL), done.stdout


def test_every_example_is_run():
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == {example.split()[0] for example in SAYS}
