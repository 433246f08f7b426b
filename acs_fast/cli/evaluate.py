"""Measure the robustness of a trained model: PGD with restarts, AutoAttack, accuracy against eps."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from acs_fast.cli.devices import device_of
from acs_fast.evaluation import report as robustness_report
from acs_fast.evaluation import robustness
from acs_fast.training.data import load
from acs_fast.training.restore import Restored, check_fits, restore


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `acs-fast evaluate`."""
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT",
        help="a best.pt, a checkpoint.pt (its averaged weights), or the folder of a run (its best.pt)")  # fmt: skip
    add("--data", metavar="SOURCE", help="as in acs-fast train (default: what the model was trained on)")
    add("--test-limit", "--limit", dest="test_limit", type=int, metavar="N",
        help="attack the first N test images (default: as in the run)")  # fmt: skip
    add("--eps", type=float, help="radius of the attacks in pixels of [0, 1] (default: as in the run)")
    add("--norm", choices=("linf", "l2"), help="norm of the attacks (default: as in the run)")
    add("--curve", type=float, nargs="*", default=[], metavar="EPS",
        help="eps to draw robust accuracy against (default: 0, 0.25, ... 2 times the training eps)")  # fmt: skip
    add("--no-autoattack", action="store_true", help="leave out AutoAttack, which takes longest by far")
    add("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    add("--output", type=Path, metavar="FOLDER",
        help="for evaluation.json and evaluation.png (default: the folder of the checkpoint)")  # fmt: skip
    add("--quiet", action="store_true", help="no progress bars")


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the tables and write them."""
    start = time.perf_counter()
    device = device_of(arguments.device)
    restored = restore(arguments.checkpoint, device)
    plan = _plan(arguments, restored)
    config = restored.config
    splits = load(config.data, config.limit) if arguments.data is None else load(arguments.data)
    check_fits(restored, splits)
    folder: Path = arguments.output or restored.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    result = robustness.evaluate(restored, splits, plan, device)
    written, no_picture = robustness_report.write(result, folder)
    print(robustness_report.text(result))
    if no_picture is not None:
        print(no_picture)
    print(f"\n{time.perf_counter() - start:.0f} s in all; written: {', '.join(map(str, written))}")
    return 0


def _plan(arguments: argparse.Namespace, restored: Restored) -> robustness.Plan:
    config = restored.config
    norm = arguments.norm or config.norm
    if norm != config.norm and arguments.eps is None:
        raise ValueError(f"--norm {norm} needs --eps: the model's eps, {config.eps:.4g}, is one of {config.norm}")
    eps = config.eps if arguments.eps is None else arguments.eps
    training_eps = config.eps if norm == config.norm else eps
    curve = tuple(sorted(set(arguments.curve))) or robustness.curve_of(training_eps, norm)
    limit = config.test_limit if arguments.test_limit is None else arguments.test_limit
    return robustness.Plan(eps, norm, curve, limit, not arguments.no_autoattack, not arguments.quiet)
