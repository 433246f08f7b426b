"""Train robustly on adversarial coresets, or compare methods on the same budget."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from acs_fast.ops import backends
from acs_fast.selectors import GRANULARITIES, SELECTORS
from acs_fast.training import report
from acs_fast.training.comparison import compare, run_one, summarise
from acs_fast.training.config import DEFAULT_COMPARISON, METHODS, OBJECTIVES, RunConfig
from acs_fast.training.data import Splits, load
from acs_fast.training.models import MODELS

INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `acs-fast train`."""
    add = parser.add_argument
    add("--data", default="digits", metavar="SOURCE",
        help="digits, a folder of IDX or CIFAR files, an .npz, or torchvision:NAME (default: digits)")  # fmt: skip
    add("--limit", type=int, metavar="N", help="use at most N training samples")
    add("--model", choices=MODELS, default="small")
    add("--width", type=int, help="channels of the first layer (default: 16 for small, 64 for resnet18)")
    add("--objective", choices=OBJECTIVES, default="pgd")
    add("--eps", type=float, help="radius of the attack in pixels of [0, 1] (default: usual for the data)")
    add("--alpha", type=float, help="step of the attack (default: 2.5 eps / steps)")
    add("--steps", type=int, default=10, help="steps of the training attack (default: 10)")
    add("--beta", type=float, default=6.0, help="weight of the divergence, for trades (default: 6)")
    add("--selector", choices=["full", *SELECTORS], default="craig", help="what coreset epochs train on")
    add("--granularity", choices=GRANULARITIES, default="class")
    add("--fraction", type=float, default=0.3, help="size of the coreset in (0, 1] (default: 0.3)")
    add("--epochs", type=int, default=30)
    add("--period", type=int, default=5, help="epochs between selections (default: 5)")
    add("--warm-start", type=float, default=0.3, help="share of the epochs before the first coreset (default: 0.3)")
    add("--batch-size", type=int, default=128)
    add("--lr", type=float, default=0.1, help="highest learning rate (default: 0.1)")
    add("--ema", type=float, default=0.99, help="decay of the averaged weights (default: 0.99)")
    add("--seed", type=int, default=0, help="(first) seed")
    add("--seeds", type=int, default=1, help="number of seeds (default: 1)")
    add("--compare", nargs="*", metavar="METHOD",
        help=f"compare methods: {', '.join(METHODS)} (default: {', '.join(DEFAULT_COMPARISON)})")  # fmt: skip
    add("--backend", default="auto", help="backend of the selection (see `acs-fast doctor`)")
    add("--device", help="cpu, cuda, cuda:1 ... (default: cuda where there is one)")
    add("--evaluate-last", action="store_true", help="also test the weights of the last epoch (in report.json)")
    add("--test-limit", type=int, default=1000, metavar="N",
        help="attack at most N test images at the end (default: 1000)")  # fmt: skip
    add("--output", type=Path, default=Path("runs/latest"), metavar="FOLDER")
    add("--overwrite", action="store_true", help="remove what an earlier run left in the output folder")
    add("--resume", type=Path, metavar="FOLDER", help="continue what was interrupted, with its own settings")
    add("--quiet", action="store_true", help="no progress bars")


def run(arguments: argparse.Namespace) -> int:
    """Train or compare; prints the table and where everything is."""
    folder, job = _resumed(arguments.resume) if arguments.resume else _new(arguments)
    config = RunConfig(**job["config"])
    splits = load(config.data, config.limit)
    device = _device(arguments.device)
    _announce(config, job, splits, device)
    start = time.perf_counter()
    try:
        if job["methods"] is None:
            results = [run_one(config.with_method(config.method, seed), splits, folder, device, False, arguments.quiet)
                       for seed in range(config.seed, config.seed + job["seeds"])]  # fmt: skip
        else:
            results = compare(config, job["methods"], job["seeds"], splits, folder, device, arguments.quiet)
    except KeyboardInterrupt:
        print(
            f"\ninterrupted; every finished epoch is saved. Go on with:\n  acs-fast train --resume {folder}",
            file=sys.stderr,
        )
        return INTERRUPTED
    rows = summarise(results)
    written = report.write(rows, results, config, folder)
    print(f"\n{report.table(rows)}\n\n{report.notes(rows, config)}")
    print(f"\n{time.perf_counter() - start:.0f} s in all; written: {', '.join(map(str, written))}")
    return 0


def _new(arguments: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    folder = arguments.output
    if (folder / "job.json").exists():
        if not arguments.overwrite:
            raise ValueError(f"--output {folder} already holds a run: use --resume {folder}, --overwrite, or another")
        shutil.rmtree(folder)
    if arguments.seeds < 1:
        raise ValueError(f"--seeds must be at least 1; got {arguments.seeds}")
    methods = arguments.compare
    unknown = sorted(set(methods or ()) - set(METHODS))
    if unknown:
        raise ValueError(f"--compare takes {', '.join(METHODS)}; got {', '.join(unknown)}")
    config = _config(arguments)
    job = {
        "config": config.as_dict(), "seeds": arguments.seeds,
        "methods": None if methods is None else list(methods or DEFAULT_COMPARISON),
    }  # fmt: skip
    load(config.data, config.limit)  # fail before anything is written
    backends.chosen("facility_location", config.backend, _device(arguments.device))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(job, indent=1))
    return folder, job


def _resumed(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / "job.json"
    try:
        job: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"--resume {folder}: there is no run to resume (no {path.name} in it)") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
    return folder, job


def _config(arguments: argparse.Namespace) -> RunConfig:
    eps = arguments.eps if arguments.eps is not None else load(arguments.data, arguments.limit).eps
    alpha = arguments.alpha if arguments.alpha is not None else 2.5 * eps / max(1, arguments.steps)
    data = arguments.data
    return RunConfig(
        data=data if data == "digits" or data.startswith("torchvision:") else str(Path(data).expanduser().resolve()),
        limit=arguments.limit, model=arguments.model, width=arguments.width, objective=arguments.objective, eps=eps,
        alpha=alpha, steps=arguments.steps, beta=arguments.beta, method=arguments.selector,
        granularity=arguments.granularity, fraction=arguments.fraction, epochs=arguments.epochs,
        period=arguments.period, warm_start=arguments.warm_start, batch_size=arguments.batch_size,
        learning_rate=arguments.lr, ema=arguments.ema, seed=arguments.seed, backend=arguments.backend,
        evaluate_last=arguments.evaluate_last,
        test_limit=arguments.test_limit,
    )  # fmt: skip


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"--device {name}: torch sees no CUDA device here")
    return device


def _announce(config: RunConfig, job: dict[str, Any], splits: Splits, device: torch.device) -> None:
    what = ", ".join(job["methods"]) if job["methods"] else config.method
    print(
        f"{splits.name}: {len(splits.train)} training, {len(splits.validation)} validation, {len(splits.test)} test "
        f"images in {splits.classes} classes\n{config.objective}, eps {config.eps:.4g}, {config.epochs} epochs, "
        f"fraction {config.fraction:g}, {job['seeds']} seed(s), on {device}: {what}",
        flush=True,
    )
