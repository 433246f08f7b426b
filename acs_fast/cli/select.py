"""Select a coreset of your data for your model, into a file for readers without acs_fast."""

from __future__ import annotations

import argparse
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acs_fast._util.options import option
from acs_fast.cli.arguments import add_options, given
from acs_fast.cli.devices import device_of
from acs_fast.cli.models import ModelOptions
from acs_fast.coreset import Coreset
from acs_fast.gradients import AttackPass
from acs_fast.training import ImageSet, RunConfig, checkpoint, read_data, refuse_code

SHARED = (
    "data", "image_size", "workers", "objective", "eps", "alpha", "steps", "beta", "bound", "label_smoothing",
    "granularity", "fraction", "backend", "batch_size", "seed",
)  # fmt: skip


@dataclass(frozen=True)
class SelectOptions:
    """What differs from `acs-fast train`."""

    method: str = option(
        "craig", "what chooses the coreset", group="coreset", flag="selector",
        choices=("craig", "gradmatch", "clusters", "random", "random-stratified"),
    )  # fmt: skip
    output: Path = option(Path("coreset.npz"), "where the coreset is written", group="output", metavar="FILE")
    quiet: bool = option(False, "no progress bars", group="output")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `acs-fast select`."""
    parser.add_argument("checkpoint", type=Path, nargs="?", metavar="CHECKPOINT", help="as in acs-fast evaluate")
    add_options(parser, ModelOptions)
    add_options(parser, SelectOptions)
    add_options(parser, RunConfig, SHARED)


def run(arguments: argparse.Namespace) -> int:
    """Select, write the coreset, and say how good it is."""
    start = time.perf_counter()
    chosen, options = ModelOptions(**given(arguments, ModelOptions)), SelectOptions(**given(arguments, SelectOptions))
    device = device_of(chosen.device)
    restored = chosen.restored(arguments.checkpoint, device)
    usual = {} if restored is None else {k: v for k, v in restored.config.as_dict().items() if k in SHARED}
    settings = {**usual, **{k: v for k, v in given(arguments, RunConfig).items() if k in SHARED}}
    config = RunConfig(**{**settings, "method": options.method, "train_on": "coreset"})
    if restored is not None and "data" not in given(arguments, RunConfig):
        refuse_code(restored.path, "data", config.data)
    found = read_data(config.data, config.image_size)
    config, images = config.resolved(found.eps), found.train
    classes = max(int(images.labels.max()) + 1, found.classes)
    model = chosen.built(images, classes, device) if restored is None else restored.model
    coreset = _selected(config, model, images, options)
    checkpoint.write_bytes(options.output, _file(coreset, images, config))
    error = coreset.stats.get("relative_gradient_error")
    told = "" if error is None else f", gradient error {error:.3f}"
    print(f"{options.output}: {len(coreset)} of {len(images)} images{told}; {time.perf_counter() - start:.1f} s")
    return 0


def _selected(config: RunConfig, model: torch.nn.Module, images: ImageSet, options: SelectOptions) -> Coreset:
    selector, n = config.build_selector(), len(images)
    gradients, labels = None, images.labels
    if selector.needs_gradients:
        source = AttackPass(
            model, images, config.build_objective(), batch_size=config.batch_size, num_workers=config.workers,
            show_progress=not options.quiet,
        )  # fmt: skip
        taken = source(config.seed)
        gradients, labels = taken.gradients, taken.labels.cpu()
    budget = max(1, int(config.fraction * n))
    return selector.select(n, budget, gradients, labels, config.seed).to("cpu").check(n)


def _file(coreset: Coreset, images: ImageSet, config: RunConfig) -> bytes:
    """An .npz: indices into the training images, weights, gains, and stats as JSON; names, where these are files."""
    stats = {**coreset.stats, "samples": len(images), "config": config.as_dict()}
    arrays: dict[str, Any] = {
        "indices": coreset.indices.numpy(), "weights": coreset.weights.numpy(), "gains": coreset.gains.numpy(),
        "stats": np.array(json.dumps(stats, default=str)),
    }  # fmt: skip
    names = images.names(coreset.indices.tolist())
    buffer = io.BytesIO()
    np.savez(buffer, **arrays if names is None else {**arrays, "names": np.array(names)})
    return buffer.getvalue()
