"""Everything that only a GPU can show, in ten minutes: probe, build, measurements, tests, sanitizer.

`python -m benchmarks.gpu.campaign [FOLDER]` goes through the stages one after the other, the steps of a stage side by
side, each step within its own time and what is left of the whole. A step that fails or runs out of time loses none of
the others; the exit status tells that it did. `--rehearse` does the same without a GPU, on small shapes.

FOLDER gets three files: gpu.json with what was measured, written after every row; gpu-steps.json, which says after each
stage how its steps ended; and gpu.log with a section for the output of each. Until a step ends, its output is in
gpu-STEP.log.
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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.gpu import probe

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks" / "results" / "gpu"
WHOLE_SECONDS = 570.0
LEAST_SECONDS = 5.0  # a step with less than this left is not begun
LOG_BYTES = 200_000  # of a step's output: its beginning and its end
ON_THE_HOST = tuple(
    f"tests/gpu/test_{name}.py" for name in ("compiles", "greedy_emulated", "greedy_races", "machine_code")
)  # need no GPU, and take minutes
SANITIZED = ("-m", "benchmarks.gpu.sanitized")


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


@dataclass
class Running:
    """A step that has begun; no process where there is no such program."""

    step: Step
    log: Path
    begun: float
    limit_s: float
    process: subprocess.Popen[bytes] | None

    def status(self) -> str:
        """How it ended; "" while it runs."""
        if self.process is None:
            return "failed"
        if (code := self.process.poll()) is not None:
            return "ok" if code == 0 else "failed"
        return "over time" if time.monotonic() - self.begun >= self.limit_s else ""

    def kill(self) -> None:
        """With all that it has begun."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


Plan = list[list[Step]]


def stages(folder: Path, python: str = sys.executable) -> Plan:
    """In the order of what a reader wants first, should the time run out; all limits together are within the whole.

    The kernels that the sanitizer runs are compiled beside the build: under the tool that takes minutes.
    """
    ignored = [f"--ignore={path}" for path in ON_THE_HOST]
    at_once = ["-n", "5", "--dist", "worksteal"] if importlib.util.find_spec("xdist") else []  # most of it is compiling
    tool = probe.path_of("compute-sanitizer") or "compute-sanitizer"
    architectures = {"ACS_FAST_CUDA_ARCHITECTURES": found} if (found := probe.architectures()) else {}
    uncached = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}  # so that a write past the end leaves its allocation
    pytest = [python, "-m", "pytest", "-p", "no:cacheprovider", "tests/gpu", *ignored, *at_once, "--durations=5"]
    return [
        [Step("probe", [python, "-m", "benchmarks.gpu.probe"], 30)],
        [
            Step("build", [python, "setup.py", "build_ext", "--inplace"], 140,
                 {"ACS_FAST_BUILD": "cuda", **architectures}),
            Step("warm", [python, *SANITIZED], 140),
        ],
        [Step("measure", [python, "-m", "benchmarks.gpu.measure", "--output", str(folder / "gpu.json")], 165)],
        [
            Step("tests", pytest, 220, {"ACS_FAST_REQUIRE": "cuda,triton"}),
            *(
                Step(name, [tool, "--tool", name, "--error-exitcode", "1", python, *SANITIZED], 220, uncached)
                for name in ("memcheck", "racecheck")
            ),
        ],
    ]  # fmt: skip


def rehearsal(folder: Path, python: str = sys.executable) -> Plan:
    """The same stages where there is no GPU: nothing is compiled, tests are collected, shapes are small."""
    other = {
        "build": {"environment": {"ACS_FAST_BUILD": "auto", "CXX": "none"}},
        "warm": {"command": [python, "-c", "import benchmarks.gpu.sanitized"]},
        "measure": {"environment": {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}},
        "tests": {"environment": {"TRITON_INTERPRET": "1"}},
    }
    added = {"measure": ["--rehearse"], "tests": ["--collect-only", "-n", "0"]}
    plan = [[replace(step, **other.get(step.name, {})) for step in stage] for stage in stages(folder, python)]
    return [[replace(s, command=[*s.command, *added.get(s.name, [])]) for s in stage] for stage in plan]


def run(plan: Plan, folder: Path, whole_s: float = WHOLE_SECONDS, name: str = "gpu") -> list[Outcome]:
    """Run every step of the plan; the outcomes are also in FOLDER/NAME-steps.json, after each stage."""
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / f"{name}.log"
    record.write_text("")
    deadline, outcomes = time.monotonic() + whole_s, []
    for stage in plan:
        left = deadline - time.monotonic()
        begun = [_begin(step, folder / f"{name}-{step.name}.log", left) for step in stage]
        ended = _wait([running for running in begun if running is not None], record)
        outcomes += [ended.get(step.name, Outcome(step.name, "not begun", 0.0)) for step in stage]
        (folder / f"{name}-steps.json").write_text(json.dumps([asdict(o) for o in outcomes], indent=1) + "\n")
    return outcomes


def _begin(step: Step, log: Path, left_s: float) -> Running | None:
    """None where too little time is left."""
    if left_s < min(LEAST_SECONDS, step.limit_s):
        return None
    cache = str(Path(tempfile.gettempdir()) / "acs-fast-triton")  # HOME may not be writable
    environment = {"TRITON_CACHE_DIR": cache, **os.environ, "PYTHONUNBUFFERED": "1", **step.environment}
    with log.open("wb") as file:
        try:
            process = subprocess.Popen(
                step.command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            file.write(f"{error}\n".encode())
            process = None
    limit_s = min(left_s, step.limit_s)
    print(f"\n== {step.name}: {' '.join(step.command)} (at most {limit_s:.0f} s)", flush=True)
    return Running(step, log, time.monotonic(), limit_s, process)


def _wait(stage: list[Running], record: Path) -> dict[str, Outcome]:
    """Outcomes by name, each step's as soon as it ends or its time does."""
    outcomes: dict[str, Outcome] = {}
    try:
        while len(outcomes) < len(stage):
            for running in stage:
                if running.step.name not in outcomes and (status := running.status()):
                    running.kill()
                    outcomes[running.step.name] = _end(running, status, record)
            time.sleep(0.02)
    finally:
        for running in stage:
            running.kill()
    return outcomes


def _end(running: Running, status: str, record: Path) -> Outcome:
    """The output of a step goes to the record and to ours."""
    step, seconds = running.step, time.monotonic() - running.begun
    said = _shortened(running.log.read_bytes()).decode(errors="replace")
    with record.open("a") as file:
        file.write(f"== {step.name}: {' '.join(step.command)}: {status}, {seconds:.0f} s\n{said}\n")
    running.log.unlink()
    print(f"\n{said[-3000:]}\n{step.name}: {status} ({seconds:.0f} s)", flush=True)
    return Outcome(step.name, status, seconds)


def _shortened(output: bytes) -> bytes:
    if len(output) <= LOG_BYTES:
        return output
    half = LOG_BYTES // 2
    return output[:half] + f"\n[... {len(output) - 2 * half} bytes ...]\n".encode() + output[-half:]


def main() -> int:
    arguments = [argument for argument in sys.argv[1:] if argument != "--rehearse"]
    rehearse = "--rehearse" in sys.argv
    default = Path(tempfile.gettempdir()) / "acs-fast-rehearsal" if rehearse else FOLDER  # no results to keep
    folder = Path(arguments[0]).resolve() if arguments else default
    outcomes = run(rehearsal(folder) if rehearse else stages(folder), folder)
    print("\n" + "\n".join(f"{o.name:<10} {o.status:<10} {o.seconds:6.0f} s" for o in outcomes))
    return 0 if all(o.status == "ok" for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
