"""Train robustly on adversarial coresets, or compare methods on the same budget."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from acs_fast._util.options import option
from acs_fast.cli.arguments import DeviceOptions, add_options, flag, given, read_settings
from acs_fast.cli.devices import device_of
from acs_fast.training import (
    METHODS,
    Run,
    RunConfig,
    Splits,
    checkpoint,
    compare,
    load_data,
    names_object,
    processes,
    refuse_code,
    report,
    run_one,
    saved_config,
    summarise,
)

INTERRUPTED = 130
JOB = "job.json"  # what an output folder was begun with
CODE = ("model", "data")  # settings that may name code of the user's own


@dataclass(frozen=True)
class Job(DeviceOptions):
    """What is done with the settings of a run."""

    seeds: int = option(1, "number of seeds", group="job")
    compare: tuple[str, ...] | None = option(
        None, f"compare methods: {', '.join(METHODS)}; without names the --selector, CRAIG, GradMatch and the controls",
        group="job", metavar="METHOD",
    )  # fmt: skip
    config: Path | None = option(
        None, "take settings from a JSON file, such as the job.json of a run; options override it", group="job",
        metavar="FILE",
    )  # fmt: skip
    output: Path = option(Path("runs/latest"), "where everything is written", group="job", metavar="FOLDER")
    overwrite: bool = option(False, "remove what an earlier run left in the output folder", group="job")
    resume: Path | None = option(
        None, "continue what was interrupted, with its own settings", group="job", metavar="FOLDER"
    )
    quiet: bool = option(False, "no progress bars and no line for each epoch", group="job")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `acs-fast train`."""
    add_options(parser, RunConfig)
    add_options(parser, Job)


def run(arguments: argparse.Namespace) -> int:
    """Train or compare; prints the table and where everything is."""
    start, job = time.perf_counter(), Job(**given(arguments, Job))
    device = device_of(job.device)
    with processes.process_group(device):
        try:
            text = _train(arguments, job, device)
        except KeyboardInterrupt:
            how = _how_to_resume(job.resume or job.output)
            print(f"\ninterrupted; every finished epoch is saved. Go on with:\n  {how}", file=sys.stderr)
            return INTERRUPTED
        if processes.rank() == 0:
            print(f"\n{text[0]}\n\n{time.perf_counter() - start:.0f} s in all; written: {text[1]}")
    return 0


def _train(arguments: argparse.Namespace, job: Job, device: torch.device) -> tuple[str, str]:
    """Run what was asked for; returns the table with its notes, and the files written."""
    folder, content, splits = _resumed(arguments, job) if job.resume else _new(arguments, job, device)
    config, methods = RunConfig(**content["config"]), content["methods"]
    if processes.rank() == 0:
        print(_announcement(config, content, splits, device), flush=True)
    if methods is None:
        seeds = range(config.seed, config.seed + content["seeds"])
        results = [run_one(config.with_method(config.method, s), splits, folder, device, job.quiet) for s in seeds]
    else:
        results = compare(config, methods, content["seeds"], splits, folder, device, job.quiet)
    rows = summarise(results)
    written = processes.on_first(lambda: report.write(rows, results, config, splits.name, folder, device))
    return f"{report.table(rows)}\n\n{report.notes(rows, config, splits.name)}", ", ".join(map(str, written))


def _new(arguments: argparse.Namespace, job: Job, device: torch.device) -> tuple[Path, dict[str, Any], Splits]:
    """A new job. Everything is checked before anything is written or removed."""
    folder = job.output
    if processes.on_first((folder / JOB).exists) and not job.overwrite:
        raise ValueError(f"--output {folder} already holds a run: use --resume {folder}, --overwrite, or another")
    if job.seeds < 1:
        raise ValueError(f"--seeds must be at least 1; got {job.seeds}")
    unknown = sorted(set(job.compare or ()) - set(METHODS))
    if unknown:
        raise ValueError(f"--compare takes {', '.join(METHODS)}; got {', '.join(unknown)}")
    settings = {} if job.config is None else read_settings(job.config, RunConfig)
    own = given(arguments, RunConfig)
    config = RunConfig(**{**settings, **own})
    for name in CODE:
        if job.config is not None and name not in own:
            refuse_code(job.config, name, getattr(config, name))
    splits = load_data(config.data, config.limit, config.image_size)
    config = RunConfig(**{**config.resolved(splits.eps).as_dict(), "data": _lasting(config.data)})
    methods = None if job.compare is None else list(job.compare) or config.comparison
    for method in methods or [config.method]:  # a run refuses what does not go together
        Run(config.with_method(method, config.seed), splits, folder, device, show_progress=False)
    content = {"config": config.as_dict(), "seeds": job.seeds, "methods": methods}
    processes.on_first(lambda: _begin(folder, content))
    return folder, content, splits


def _begin(folder: Path, content: dict[str, Any]) -> None:
    """Remove what an earlier run wrote, and nothing else; then write what this one is."""
    with checkpoint.locked(folder):
        for method in METHODS:
            for own in folder.glob(f"{method}-seed*"):
                with checkpoint.locked(own):
                    shutil.rmtree(own)
        for path in (folder / JOB, *folder.glob("report.*")):
            path.unlink(missing_ok=True)
        checkpoint.write_json(folder / JOB, content)


def _resumed(arguments: argparse.Namespace, job: Job) -> tuple[Path, dict[str, Any], Splits]:
    """The job in the folder, with the settings it was begun with. Code that these name is only run if named again."""
    folder = job.resume or job.output
    kept = {"resume", "device", "quiet", *CODE}
    options = {each.name: flag(each) for kind in (RunConfig, Job) for each in kind.__dataclass_fields__.values()}
    extra = [options[name] for name in vars(arguments) if name in options and name not in kept]
    if extra:
        raise ValueError(f"--resume goes on with the run's own settings; leave out {', '.join(extra)}")
    if not (folder / JOB).exists():
        raise ValueError(f"--resume {folder}: there is no run to resume (no {JOB} in it)")
    content = _job_in(folder / JOB)
    config, own = RunConfig(**content["config"]), given(arguments, RunConfig)
    for name in CODE:
        value = getattr(config, name)
        if name not in own:
            refuse_code(folder / JOB, name, value)
        elif own[name] != value:
            raise ValueError(
                f"--resume goes on with the run's own settings; its {name} is {value!r}, not {own[name]!r}"
            )
    return folder, content, load_data(config.data, config.limit, config.image_size)


def _job_in(path: Path) -> dict[str, Any]:
    """What a job was begun with. Raises CheckpointError unless `_begin` can have written it."""
    content = checkpoint.read_json(path, {"config", "seeds", "methods"})
    seeds, methods = content["seeds"], content["methods"]
    named = methods is None or (isinstance(methods, list) and all(m in list(METHODS) for m in methods))
    if not isinstance(seeds, int) or seeds < 1 or not named:
        raise checkpoint.CheckpointError(f"{path}: was not written by acs-fast train")
    return {**content, "config": saved_config(path, content["config"]).as_dict()}


def _how_to_resume(folder: Path) -> str:
    """The command that goes on with a job."""
    settings = _job_in(folder / JOB)["config"] if (folder / JOB).exists() else {}
    code = [part for name in CODE if names_object(settings.get(name, "")) for part in (f"--{name}", settings[name])]
    return shlex.join(["acs-fast", "train", "--resume", str(folder), *code])


def _lasting(data: str) -> str:
    """A source that means the same in every working directory."""
    path = Path(data).expanduser()
    return str(path.resolve()) if path.exists() and not names_object(data) else data


def _announcement(config: RunConfig, job: dict[str, Any], splits: Splits, device: torch.device) -> str:
    what = ", ".join(job["methods"]) if job["methods"] else config.method
    together = f" x {processes.world_size()}" if processes.world_size() > 1 else ""
    configs = [config.with_method(method, config.seed) for method in job["methods"] or [config.method]]
    vain = [c.method for c in configs if c.selects and not any(map(c.schedule.uses_coreset, c.schedule.epochs))]
    warning = (
        f"\nno epoch is left for a coreset of {', '.join(vain)}: raise --epochs or lower --warm-start" if vain else ""
    )
    return (
        f"{splits.name}: {len(splits.train)} training, {len(splits.validation)} validation, {len(splits.test)} test "
        f"images in {splits.classes} classes\n{config.objective}, eps {config.radius:.4g}, {config.epochs} epochs, "
        f"fraction {config.fraction:g}, {job['seeds']} seed(s), on {device}{together}: {what}{warning}"
    )
