"""Everything that only a GPU can show, in ten minutes: probe, build, measurements, tests, sanitizer.

`python -m benchmarks.gpu.campaign [FOLDER]` runs the steps one after the other, each within its own time and what is
left of the whole. A step that fails or runs out of time loses none of the others; the exit status tells that it did.
Each step's output goes to FOLDER/gpu-STEP.log as it comes, and FOLDER/gpu-steps.json says after each how it ended.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "results" / "gpu"
WHOLE_SECONDS = 570.0
LEAST_SECONDS = 5.0  # a step with less than this left is not begun
ON_THE_HOST = ("tests/gpu/test_compiles.py", "tests/gpu/test_greedy_emulated.py")  # need no GPU: not here


@dataclass(frozen=True)
class Step:
    """A command, the environment it needs, and how long it may take."""

    name: str
    command: list[str]
    limit_s: float
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a step ended: "ok", "failed", "over time" or "not begun"."""

    name: str
    status: str
    seconds: float


def steps(folder: Path, python: str = sys.executable) -> list[Step]:
    """In the order of what a reader wants first, should the time run out."""
    jobs = os.environ.get("MAX_JOBS", str(max(1, min(8, os.cpu_count() or 1))))
    ignored = [f"--ignore={path}" for path in ON_THE_HOST]
    at_once = ["-n", "5", "--dist", "worksteal"] if importlib.util.find_spec("xdist") else []  # most of it is compiling
    sanitized = [python, "-m", "benchmarks.gpu.sanitized"]
    uncached = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}  # so that a write past the end leaves its allocation
    return [
        Step("probe", [python, "-m", "benchmarks.gpu.probe"], 60),
        Step(
            "build", [python, "setup.py", "build_ext", "--inplace"], 200, {"ACS_FAST_BUILD": "cuda", "MAX_JOBS": jobs}
        ),
        Step("measure", [python, "-m", "benchmarks.gpu.measure", "--output", str(folder / "gpu.json")], 180),
        Step(
            "tests",
            [python, "-m", "pytest", "-p", "no:cacheprovider", "tests/gpu", *ignored, *at_once, "--durations=5"], 200,
            {"ACS_FAST_REQUIRE": "cuda,triton"},
        ),
        Step("warm", sanitized, 60),  # compiles what the sanitizer runs: compiling under it takes minutes
        *(
            Step(tool, ["compute-sanitizer", "--tool", tool, "--error-exitcode", "1", *sanitized], 90, uncached)
            for tool in ("memcheck", "racecheck")
        ),
    ]  # fmt: skip


def run(plan: list[Step], folder: Path, whole_s: float = WHOLE_SECONDS) -> list[Outcome]:
    """Run every step of the plan; the outcomes are also in FOLDER/gpu-steps.json, after each step."""
    folder.mkdir(parents=True, exist_ok=True)
    deadline, outcomes = time.monotonic() + whole_s, []
    for step in plan:
        left = deadline - time.monotonic()
        if left < min(LEAST_SECONDS, step.limit_s):
            outcomes.append(Outcome(step.name, "not begun", 0.0))
        else:
            outcomes.append(_run_step(step, folder / f"gpu-{step.name}.log", min(left, step.limit_s)))
        (folder / "gpu-steps.json").write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n")
        print(f"{outcomes[-1].name}: {outcomes[-1].status} ({outcomes[-1].seconds:.0f} s)", flush=True)
    return outcomes


def _run_step(step: Step, log: Path, limit_s: float) -> Outcome:
    """The step's output, to its log and to ours."""
    print(f"\n== {step.name}: {' '.join(step.command)} (at most {limit_s:.0f} s)", flush=True)
    cache = str(Path(tempfile.gettempdir()) / "acs-fast-triton")  # HOME may not be writable
    environment = {"TRITON_CACHE_DIR": cache, **os.environ, "PYTHONUNBUFFERED": "1", **step.environment}
    start = time.monotonic()
    with log.open("wb") as file:
        try:
            process = subprocess.Popen(
                step.command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            file.write(f"{error}\n".encode())
            return Outcome(step.name, "failed", 0.0)
        try:
            status = "ok" if process.wait(limit_s) == 0 else "failed"
        except subprocess.TimeoutExpired:
            status = "over time"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    seconds = time.monotonic() - start
    print(log.read_text(errors="replace")[-3000:], flush=True)
    return Outcome(step.name, status, seconds)


def main() -> int:
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else FOLDER
    outcomes = run(steps(folder), folder)
    print("\n" + "\n".join(f"{o.name:<10} {o.status:<10} {o.seconds:6.0f} s" for o in outcomes))
    return 0 if all(o.status == "ok" for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
