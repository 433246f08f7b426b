"""Train robustly on adversarial coresets, or compare methods on the same budget."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from acs_fast.cli.devices import device_of
from acs_fast.objectives import OBJECTIVES
from acs_fast.ops import backends
from acs_fast.selection import SELECTORS
from acs_fast.training import checkpoint, report
from acs_fast.training.comparison import compare, run_one, summarise
from acs_fast.training.config import AUTO, CLASSICS, GRANULARITIES, METHODS, REFRESHES, RunConfig
from acs_fast.training.data import Splits, load
from acs_fast.training.models import MODELS
from acs_fast.training.run import Run

INTERRUPTED = 130
JOB = "job.json"  # what an output folder was begun with


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `acs-fast train`."""
    add = parser.add_argument
    add("--data", default="digits", metavar="SOURCE",
        help="digits, a folder of IDX or CIFAR files, an .npz, or torchvision:NAME (default: digits)")  # fmt: skip
    add("--limit", type=int, metavar="N", help="use at most N training samples")
    add("--model", choices=MODELS, default="small")
    add("--width", type=int, help="channels of the first layer (default: 16 for small, 64 for resnet18)")
    add("--objective", choices=OBJECTIVES, default="atta",
        help="attack and loss (default: atta, one step from where the sample's last attack ended)")  # fmt: skip
    add("--eps", type=float, help="radius of the attack in pixels of [0, 1] (default: usual for the data)")
    add("--alpha", type=float, help="step of an attack of several steps (default: 2.5 eps / steps)")
    add("--steps", type=int, default=10,
        help=f"steps of the training attack, for {', '.join(_taking('steps'))} (default: 10)")  # fmt: skip
    add("--beta", type=float, default=6.0, help="weight of the divergence, for trades (default: 6)")
    add("--bound", type=float, default=0.5, help="radius of the perceptual attack, for perceptual (default: 0.5)")
    add("--selector", choices=["full", *SELECTORS], default="clusters",
        help="what coreset epochs attack or train on (default: clusters)")  # fmt: skip
    add("--granularity", choices=GRANULARITIES, default="class")
    add("--fraction", type=float, default=0.25, help="size of the coreset in (0, 1] (default: 0.25)")
    add("--epochs", type=int, default=34, help="default: 34")
    add("--period", type=int, default=5, help="epochs between selections (default: 5)")
    add("--warm-start", type=float, default=0.1, help="share of the epochs before the first coreset (default: 0.1)")
    add("--batch-size", type=int, default=128)
    add("--lr", type=float, default=0.1, help="highest learning rate (default: 0.1)")
    add("--ema", type=float, default=0.99, help="decay of the averaged weights (default: 0.99)")
    add("--seed", type=int, default=0, help="(first) seed")
    add("--seeds", type=int, default=1, help="number of seeds (default: 1)")
    add("--compare", nargs="*", metavar="METHOD",
        help=f"compare methods: {', '.join(METHODS)} (default: the --selector, {', '.join(CLASSICS)})")  # fmt: skip
    add("--selection-steps", type=int, metavar="N", help="attack steps while selecting (default: as in training)")
    add("--refresh", choices=(AUTO, *REFRESHES), default=AUTO,
        help="attack: a selection attacks its candidates; train: it uses what training passes showed "
        "(default: train where possible)")  # fmt: skip
    add("--allocate", action=argparse.BooleanOptionalAction, default=None,
        help="train on everything: the strong attack for the coreset, one step for the rest, and with atta no step for "
        "the rest (default: with atta only)")  # fmt: skip
    add("--backend", default="auto", help="backend of the selection (see `acs-fast doctor`)")
    add("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    add("--channels-last", action=argparse.BooleanOptionalAction, default=True,
        help="memory format of images and convolutions (default: channels last)")  # fmt: skip
    add("--compile", action="store_true", help="run the model through torch.compile (slow to begin with)")
    add("--amp", action="store_true", help="bfloat16 where it is safe, on devices that have it")
    add("--evaluate-last", action="store_true", help="also test the weights of the last epoch (in report.json)")
    add("--test-limit", type=int, default=1000, metavar="N",
        help="attack at most N test images at the end (default: 1000)")  # fmt: skip
    add("--output", type=Path, default=Path("runs/latest"), metavar="FOLDER")
    add("--overwrite", action="store_true", help="remove what an earlier run left in the output folder")
    add("--resume", type=Path, metavar="FOLDER", help="continue what was interrupted, with its own settings")
    add("--quiet", action="store_true", help="no progress bars")


def run(arguments: argparse.Namespace) -> int:
    """Train or compare; prints the table and where everything is."""
    start = time.perf_counter()
    folder, job, splits = _resumed(arguments) if arguments.resume else _new(arguments)
    config = RunConfig(**job["config"])
    device = device_of(arguments.device)
    _announce(config, job, splits, device)
    try:
        if job["methods"] is None:
            results = [run_one(config.with_method(config.method, seed), splits, folder, device, arguments.quiet)
                       for seed in range(config.seed, config.seed + job["seeds"])]  # fmt: skip
        else:
            results = compare(config, job["methods"], job["seeds"], splits, folder, device, arguments.quiet)
        rows = summarise(results)
        written = report.write(rows, results, config, splits.name, folder)
    except KeyboardInterrupt:
        print(
            f"\ninterrupted; every finished epoch is saved. Go on with:\n  acs-fast train --resume {folder}",
            file=sys.stderr,
        )
        return INTERRUPTED
    print(f"\n{report.table(rows)}\n\n{report.notes(rows, config, splits.name)}")
    print(f"\n{time.perf_counter() - start:.0f} s in all; written: {', '.join(map(str, written))}")
    return 0


def _new(arguments: argparse.Namespace) -> tuple[Path, dict[str, Any], Splits]:
    """A new job. Everything is checked before anything is written or removed."""
    folder = arguments.output
    if (folder / JOB).exists() and not arguments.overwrite:
        raise ValueError(f"--output {folder} already holds a run: use --resume {folder}, --overwrite, or another")
    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1; got {arguments.seeds}")
    methods = arguments.compare
    unknown = sorted(set(methods or ()) - set(METHODS))
    if unknown:
        raise ValueError(f"--compare takes {', '.join(METHODS)}; got {', '.join(unknown)}")
    splits = load(arguments.data, arguments.limit)
    config = _config(arguments, splits)
    device = device_of(arguments.device)
    backends.chosen("facility_location", config.backend, device)
    methods = None if methods is None else methods or config.comparison
    for method in methods or [config.method]:  # a run refuses what does not go together
        Run(config.with_method(method, config.seed), splits, folder, device, show_progress=False)
    job = {"config": config.as_dict(), "seeds": arguments.seeds, "methods": methods}
    _remove_run(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.write_json(folder / JOB, job)
    return folder, job, splits


def _taking(option: str) -> list[str]:
    """The objectives that an option is for."""
    return [name for name, entry in OBJECTIVES.items() if option in entry.takes]


def _remove_run(folder: Path) -> None:
    """Remove what an earlier run wrote, and nothing else."""
    for method in METHODS:
        for own in folder.glob(f"{method}-seed*"):
            shutil.rmtree(own)
    for path in (folder / JOB, *folder.glob("report.*")):
        path.unlink(missing_ok=True)


def _resumed(arguments: argparse.Namespace) -> tuple[Path, dict[str, Any], Splits]:
    """The job in the folder, with the settings it was begun with."""
    folder: Path = arguments.resume
    defaults = argparse.ArgumentParser()
    add_arguments(defaults)
    kept = {"resume", "device", "quiet", "command", "run"}
    usual = vars(defaults.parse_args([]))
    given = [f"--{k.replace('_', '-')}" for k, v in vars(arguments).items() if k not in kept and v != usual.get(k)]
    if given:
        raise ValueError(f"--resume goes on with the run's own settings; leave out {', '.join(given)}")
    if not (folder / JOB).exists():
        raise ValueError(f"--resume {folder}: there is no run to resume (no {JOB} in it)")
    job = checkpoint.read_json(folder / JOB, {"config", "seeds", "methods"})
    return folder, job, load(job["config"]["data"], job["config"]["limit"])


def _config(arguments: argparse.Namespace, splits: Splits) -> RunConfig:
    if arguments.width is not None and arguments.width < 1:
        raise ValueError(f"--width must be at least 1; got {arguments.width}")
    eps = splits.eps if arguments.eps is None else arguments.eps
    alpha = arguments.alpha if arguments.alpha is not None else 2.5 * eps / max(1, arguments.steps)
    data = arguments.data
    return RunConfig(
        data=data if data == "digits" or data.startswith("torchvision:") else str(Path(data).expanduser().resolve()),
        limit=arguments.limit, model=arguments.model, width=arguments.width, objective=arguments.objective, eps=eps,
        alpha=alpha, steps=arguments.steps, beta=arguments.beta, bound=arguments.bound, method=arguments.selector,
        granularity=arguments.granularity, fraction=arguments.fraction, epochs=arguments.epochs,
        period=arguments.period, warm_start=arguments.warm_start, batch_size=arguments.batch_size,
        learning_rate=arguments.lr, ema=arguments.ema, seed=arguments.seed, backend=arguments.backend,
        channels_last=arguments.channels_last, compile=arguments.compile, amp=arguments.amp,
        selection_steps=arguments.selection_steps, refresh=arguments.refresh, allocate=arguments.allocate,
        evaluate_last=arguments.evaluate_last, test_limit=arguments.test_limit,
    )  # fmt: skip


def _announce(config: RunConfig, job: dict[str, Any], splits: Splits, device: torch.device) -> None:
    what = ", ".join(job["methods"]) if job["methods"] else config.method
    print(
        f"{splits.name}: {len(splits.train)} training, {len(splits.validation)} validation, {len(splits.test)} test "
        f"images in {splits.classes} classes\n{config.objective}, eps {config.eps:.4g}, {config.epochs} epochs, "
        f"fraction {config.fraction:g}, {job['seeds']} seed(s), on {device}: {what}",
        flush=True,
    )
