"""Hardware counters of the kernels that the bars depend on, by ncu: for a call of its own, after `make gpu`.

`python -m benchmarks.gpu.counters [FOLDER]` looks at few launches of each case; the text goes to FOLDER/gpu-ncu.log.
`--once CASE` is what ncu runs: the operator of a case, once.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.gpu import campaign, probe
from benchmarks.gpu.campaign import Plan, Step
from benchmarks.gpu.cases import CASES, GpuCase
from benchmarks.gpu.work import OPERATOR, Work

SECTIONS = ("SpeedOfLight", "LaunchStats", "Occupancy", "MemoryWorkloadAnalysis", "InstructionStats", "WarpStateStats")
ROUND = ("column", "forward", "backward", "direction", "settle", "update", "score", "decide")  # of matching
LIMIT_S = 140.0


@dataclass(frozen=True)
class Profile:
    """Launches of some kernels of a case: `launches` of them after the first `skip`."""

    case: str
    kernels: tuple[str, ...]
    launches: int
    skip: int = 0


PROFILES = (
    Profile("craig-cifar10", ("distances_kernel", "greedy_kernel"), 2),
    Profile("craig-imagenet", ("gather_kernel", "moments_kernel", "distances_kernel", "greedy_kernel"), 5),
    Profile("craig-global", ("greedy_kernel",), 1),
    Profile("gradmatch-cifar10", tuple(f"{name}_kernel" for name in ROUND), len(ROUND), 2 + 800 * len(ROUND)),
)  # the two before the rounds are a score and a decision; 800 picks are half of all


def command(profile: Profile, python: str = sys.executable) -> list[str]:
    ncu = probe.path_of("ncu") or "ncu"
    names = f"regex:^({'|'.join(profile.kernels)})$"
    return [
        ncu, "--clock-control", "none", "--target-processes", "all", "--kernel-name", names,
        "--launch-skip", str(profile.skip), "--launch-count", str(profile.launches),
        *(part for section in SECTIONS for part in ("--section", section)),
        python, "-m", "benchmarks.gpu.counters", "--once", profile.case,
    ]  # fmt: skip


def stages(python: str = sys.executable) -> Plan:
    """One case after the other."""
    return [[Step(profile.case, command(profile, python), LIMIT_S)] for profile in PROFILES]


def once(case: GpuCase) -> None:
    Work(case).stage(OPERATOR)()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main() -> int:
    if "--once" in sys.argv:
        once(next(case for case in CASES if case.name == sys.argv[-1]))
        return 0
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else campaign.FOLDER
    outcomes = campaign.run(stages(), folder, name="gpu-ncu")
    return 0 if all(outcome.status == "ok" for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
