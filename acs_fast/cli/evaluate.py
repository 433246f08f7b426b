"""Measure the robustness of a model: PGD with restarts, AutoAttack, accuracy by class and against eps."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acs_fast import evaluation
from acs_fast._util.options import option
from acs_fast._util.randomness import derived_seed
from acs_fast.cli.arguments import add_options, given
from acs_fast.cli.devices import device_of
from acs_fast.cli.models import ModelOptions
from acs_fast.training import (
    SOURCES,
    Restored,
    RunConfig,
    Splits,
    check_fits,
    checkpoint,
    load_data,
    machine_and_versions,
    refuse_code,
)

FOREIGN_LIMIT = RunConfig.test_limit


@dataclass(frozen=True)
class EvaluateOptions:
    """What is measured, and where it goes."""

    data: str | None = option(
        None, SOURCES.replace("'", ""), group="evaluation", metavar="SOURCE", shown="what the model was trained on"
    )
    image_size: int | None = option(None, "height and width for pictures", group="evaluation", metavar="N",
                                    shown="as in the run, or those of the first")  # fmt: skip
    test_limit: int | None = option(
        None, "attack the first N test images", group="evaluation", metavar="N", shown=f"as in the run, {FOREIGN_LIMIT}"
    )
    eps: float | None = option(None, "radius of the attacks in pixels of [0, 1]", group="evaluation",
                               shown="as in the run")  # fmt: skip
    norm: str | None = option(None, "norm of the attacks", group="evaluation", choices=("linf", "l2"),
                              shown="as in the run, linf")  # fmt: skip
    steps: int = option(evaluation.STEPS, "of PGD", group="evaluation", metavar="N")
    restarts: int = option(evaluation.RESTARTS, "of PGD, at random starts", group="evaluation", metavar="N")
    curve: tuple[float, ...] = option(
        (), "eps to draw robust accuracy against", group="evaluation", metavar="EPS", shown="0, 0.25, ... 2 times eps"
    )
    autoattack: bool = option(True, "run AutoAttack, which takes longest by far", group="evaluation")
    groups: Path | None = option(
        None, "an .npy or a text file with an integer for each test image: hidden groups, to report the worst of",
        group="evaluation", metavar="FILE", shown="none",
    )  # fmt: skip
    workers: int = option(0, "processes that read images", group="evaluation", metavar="N")
    output: Path | None = option(
        None, "for evaluation.json and evaluation.png", group="evaluation", metavar="FOLDER",
        shown="the folder of the run",
    )  # fmt: skip
    quiet: bool = option(False, "no progress bars", group="evaluation")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `acs-fast evaluate`."""
    parser.add_argument(
        "checkpoint", type=Path, nargs="?", metavar="CHECKPOINT",
        help="a best.pt, a checkpoint.pt (its averaged weights), or the folder of a run (its best.pt)",
    )  # fmt: skip
    add_options(parser, ModelOptions)
    add_options(parser, EvaluateOptions)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate, print the tables and write them."""
    start = time.perf_counter()
    chosen, options = (
        ModelOptions(**given(arguments, ModelOptions)),
        EvaluateOptions(**given(arguments, EvaluateOptions)),
    )
    device = device_of(chosen.device)
    restored = chosen.restored(arguments.checkpoint, device)
    settings = _settings(options, restored)
    about: dict[str, Any] = {"model": chosen.model}
    splits = _splits(options, restored)
    if restored is None:
        model, folder = chosen.built(splits.train, splits.classes, device), Path()
    else:
        check_fits(restored, splits)
        model, folder = restored.model, restored.path.parent
        about = {"checkpoint": str(restored.path), "epoch": restored.epoch, "config": restored.config.as_dict()}
    groups = None if options.groups is None else _groups(options.groups, len(splits.test))
    folder = options.output or folder
    folder.mkdir(parents=True, exist_ok=True)
    result = evaluation.evaluate(
        model, splits.test.loader(workers=options.workers), device=device, autoattack=options.autoattack,
        groups=groups, show_progress=not options.quiet, **settings,
    )  # fmt: skip
    names = list(splits.train.class_names)
    result = {**about, "data": splits.name, "class_names": names, **result, **machine_and_versions(device)}
    print(f"{about.get('checkpoint', chosen.model)} on {splits.name}: {evaluation.text(result)}")
    written = _write(result, folder)
    print(f"\n{time.perf_counter() - start:.0f} s in all; written: {', '.join(map(str, written))}")
    return 0


def _write(result: dict[str, Any], folder: Path) -> list[Path]:
    """evaluation.json and, with matplotlib, evaluation.png."""
    file, picture = folder / "evaluation.json", folder / "evaluation.png"
    checkpoint.write_json(file, result)
    no_picture = evaluation.draw(result, picture, f"{result['data']}, ")
    if no_picture is None:
        return [file, picture]
    print(no_picture)
    return [file]


def _splits(options: EvaluateOptions, restored: Restored | None) -> Splits:
    if options.data is not None:
        size = options.image_size
        if size is None and restored is not None and restored.shape[1] == restored.shape[2]:
            size = restored.shape[1]
        return load_data(options.data, image_size=size)
    if restored is None:
        raise ValueError("--model needs --data: which images to evaluate on")
    config = restored.config
    refuse_code(restored.path, "data", config.data)
    return load_data(config.data, config.limit, options.image_size or config.image_size)


def _groups(path: Path, images: int) -> np.ndarray:
    """[N] integers of a file, one for each test image."""
    try:
        found = np.load(path) if path.suffix == ".npy" else np.array(path.read_text().split(), np.int64)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"--groups {path}: cannot be read as integers ({error})") from error
    if found.shape != (images,) or found.dtype.kind not in "iu":
        raise ValueError(
            f"--groups {path}: must hold one integer for each of {images} test images; got {found.dtype} of shape "
            f"{list(found.shape)}"
        )
    return found


def _settings(options: EvaluateOptions, restored: Restored | None) -> dict[str, Any]:
    """eps, norm, curve, limit and seed, by the options or the run."""
    if restored is None:
        if options.eps is None:
            raise ValueError("--model needs --eps: the radius of the attacks in pixels of [0, 1]")
        eps, norm, limit, seed = options.eps, options.norm or "linf", FOREIGN_LIMIT, 0
    else:
        config = restored.config
        norm, limit, seed = options.norm or config.norm, config.test_limit, config.seed
        if norm != config.norm and options.eps is None:
            raise ValueError(f"--norm {norm} needs --eps: that of the model, {config.radius:.4g}, is of {config.norm}")
        eps = config.radius if options.eps is None else options.eps
    limit = limit if options.test_limit is None else options.test_limit
    curve = options.curve or evaluation.curve_of(eps, norm)
    return {
        "eps": eps, "norm": norm, "steps": options.steps, "restarts": options.restarts, "curve": curve, "limit": limit,
        "seed": derived_seed("test", seed),
    }  # fmt: skip
