"""The CUDA greedy under ThreadSanitizer: one thread per CUDA thread, with exactly the orders that its PTX has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.gpu.emulation import copy_sources
from tests.gpu.requirements import ENVIRONMENT, need_tool

SIZES = {
    "THREADS_OF_LARGE": 64, "THREADS_OF_SMALL": 32, "SMALL_ROWS": 20, "ROWS_AT_ONCE": 16, "REPLICATED_ROWS": 50,
    "COLUMNS_PER_BLOCK": 8, "STAGED_BYTES": 0,
}  # fmt: skip
FOLLOWING, SHARING = ("40", "5"), ("60", "5")  # blocks follow all rows by themselves, or share them
STUCK, RACE = 3, 66
RUNS = 5
MUTANTS = {
    "a release dropped": ("store(value, std::memory_order_release)",
                          "store(value, std::memory_order_relaxed)", SHARING),
    "an acquire dropped": ("load(std::memory_order_acquire)", "load(std::memory_order_relaxed)", SHARING),
    "one parity": ("slots + (round & 1u) * size", "slots", SHARING),
    "an early reset": ("list.found[(step + 1) & 1] = 0", "list.found[step & 1] = 0", SHARING),
    "a fence-free meeting where lists pass": ("    team.meet(Candidate{0, 0}, s.best[1]);",
                                              "    team.exchange(Candidate{0, 0}, s.best[1]);", SHARING),
    "a list that is filled too early": ("    __syncthreads();\n    const int found = s.found;",
                                        "    const int found = s.found;", FOLLOWING),
}  # fmt: skip


def program(folder: Path, *passage: str) -> Path:
    """The emulation as a program."""
    compiler = need_tool("cuda", "g++")
    emulator = copy_sources(folder, *passage)
    sizes = [f"-DACS_GREEDY_{name}={value}" for name, value in SIZES.items()]
    flags = ["-std=c++20", "-O1", "-g", "-w", "-fsanitize=thread", "-mcx16", f"-I{emulator}/threads"]
    command = [compiler, *flags, *sizes, str(emulator / "threads/greedy.cpp"), "-o", str(folder / "greedy")]
    built = subprocess.run([*command, "-latomic"], capture_output=True, text=True, env=ENVIRONMENT)
    if "cannot find -ltsan" in built.stderr:
        pytest.skip("this compiler has no ThreadSanitizer")
    assert built.returncode == 0, built.stderr
    return folder / "greedy"


def status(executable: Path, case: tuple[str, str]) -> tuple[int, str]:
    environment = {**ENVIRONMENT, "TSAN_OPTIONS": f"halt_on_error=1 exitcode={RACE}"}
    run = subprocess.run([str(executable), *case], env=environment, capture_output=True, text=True)
    return run.returncode, run.stderr


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return program(tmp_path_factory.mktemp("threads"))


@pytest.mark.parametrize("case", [FOLLOWING, SHARING], ids=["following all rows", "sharing the rows"])
def test_no_race_and_the_picks_of_the_definition(sound, case):
    assert status(sound, case) == (0, "")


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_kernel_is_noticed(tmp_path, name):
    old, new, case = MUTANTS[name]
    broken = program(tmp_path, old, new)
    assert any(noticed(*status(broken, case)) for _ in range(RUNS))  # on a busy machine threads may take turns


def noticed(code: int, said: str) -> bool:
    """By a data race that is told, or by being stuck; ThreadSanitizer ends with the same code where it cannot begin."""
    return code == STUCK or (code == RACE and "data race" in said)


def test_a_sanitizer_that_cannot_begin_notices_nothing():
    assert not noticed(RACE, "FATAL: ThreadSanitizer: unexpected memory mapping")
    assert noticed(RACE, "WARNING: ThreadSanitizer: data race (pid=1)")
    assert noticed(STUCK, "")
