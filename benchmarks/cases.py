"""What is measured: cases as data. A case names a task, a size, and who takes part; a bar names what must hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatch

OURS = ("ours-cpu", "ours-triton", "ours-cuda", "ours-reference")
ASSEMBLED = ("cdist-submodlib", "blas-submodlib", "blas-apricot")
OMPS = ("spams", "batched-omp", "sklearn-omp")
PUBLISHED_DISTANCES = "N x M x P expansion, measured in craig-1k"


@dataclass(frozen=True)
class Case:
    """One measurement of several opponents on the same input.

    Attributes:
        task: "craig" (factors in, coreset out), "greedy" (distance matrix in, coreset out), "distances" (factors in,
            matrix out) or "matching" (factors in, weighted coreset out).
        n, classes, width: N, C and D of the gradients; with a bias.
        budget: k.
        groups: labels among the samples, each its own selection problem.
        opponents: names in `benchmarks.peers.OPPONENTS`.
        not_run: opponents that are left out, and why; a row says so.
        seconds: time for each opponent, after which it is not repeated again.
        limit_s: time for one run, after which it is stopped; a row says so.
        series: the axis ("N" or "k") and the plot that this case is a point of.
    """

    name: str
    title: str
    task: str
    n: int
    classes: int
    width: int
    budget: int
    groups: int = 1
    opponents: tuple[str, ...] = ()
    not_run: dict[str, str] = field(default_factory=dict)
    seconds: float = 10.0
    limit_s: float = 150.0
    series: tuple[str, str] | None = None

    @property
    def size(self) -> str:
        groups = f" in {self.groups} classes" if self.groups > 1 else ""
        budget = "" if self.task == "distances" else f", k = {self.budget:,}"
        return f"N = {self.n:,}{groups}, C = {self.classes:,}, D = {self.width:,}{budget}"


@dataclass(frozen=True)
class Bar:
    """A number that our fastest backend must reach in a case.

    Attributes:
        measure: "speedup" over `against` ("best peer" or an opponent), "seconds", "gib" above the inputs, or
            "sgemm" (part of the measured sgemm rate).
        quality: largest allowed ratio of our objective or error to that of `against`.
    """

    case: str
    measure: str
    threshold: float
    against: str = "best peer"
    quality: float | None = None


def _by_n(n: int) -> Case:
    slow = ("blas-submodlib",) if n <= 10_000 else ()
    slow += ("ours-reference", "blas-apricot") if n <= 5_000 else ()
    return Case(
        f"growth-n-{n}", "growth with N", "craig", n, 10, 512, 3 * n // 10, seconds=6.0,
        opponents=(*OURS[:3], *slow), series=("growth-n", "N"),
    )  # fmt: skip


def _by_k(k: int) -> Case:
    return Case(
        f"growth-k-{k}", "growth with k", "craig", 5_000, 10, 512, k, seconds=3.0,
        opponents=(*OURS[:3], "blas-submodlib", "blas-apricot"), series=("growth-k", "k"),
    )  # fmt: skip


CASES = (
    Case(
        "craig-5k", "CRAIG, one class of CIFAR-10's size", "craig", 5_000, 10, 512, 1_500, seconds=22.0,
        opponents=(*OURS, *ASSEMBLED, "mixed-submodlib", "random"), not_run={"published": PUBLISHED_DISTANCES},
    ),
    Case(
        "craig-50k", "CRAIG, all of CIFAR-10's size, per class", "craig", 50_000, 10, 512, 15_000, groups=10,
        opponents=(*OURS[:3], *ASSEMBLED, "random"),
        not_run={"ours-reference": "minutes, ten times craig-5k", "published": PUBLISHED_DISTANCES},
    ),
    Case(
        "craig-cifar100", "CRAIG, all of CIFAR-100's size, per class", "craig", 50_000, 100, 512, 15_000, groups=100,
        opponents=(*OURS, *ASSEMBLED, "random"), not_run={"published": PUBLISHED_DISTANCES},
    ),
    Case(
        "craig-imagenet", "CRAIG, one class of ImageNet's size", "craig", 1_281, 1_000, 2_048, 384, limit_s=240.0,
        opponents=(*OURS, "cdist-submodlib", "blas-submodlib", "random"), not_run={"published": PUBLISHED_DISTANCES},
    ),
    Case(
        "craig-1k", "CRAIG with the published recipe", "craig", 1_000, 10, 512, 300,
        opponents=(*OURS, *ASSEMBLED, "published", "random"),
    ),
    Case(
        "greedy-5k", "Greedy alone on a given matrix", "greedy", 5_000, 10, 512, 1_500,
        opponents=(*OURS, "submodlib", "apricot", "random"),
    ),
    Case(
        "distances-5k", "Distances alone", "distances", 5_000, 10, 512, 0, seconds=6.0,
        opponents=(*OURS, "cdist", "blas", "sgemm"), not_run={"published": PUBLISHED_DISTANCES},
    ),
    *(
        Case(
            f"gradmatch-2k-k{k}", "GradMatch", "matching", 2_000, 10, 512, k, seconds=6.0,
            opponents=(*OURS, *OMPS, "published"), series=("matching-k", "k"),
        )
        for k in (100, 200, 300)
    ),
    Case(
        "gradmatch-5k", "GradMatch, one class of CIFAR-10's size", "matching", 5_000, 10, 512, 1_500, limit_s=60.0,
        opponents=(*OURS, *OMPS), not_run={"published": "grows with about the cube of k, measured up to k = 300"},
    ),
    *(_by_n(n) for n in (1_000, 2_000, 5_000, 10_000, 20_000)),
    *(_by_k(k) for k in (100, 500, 1_500, 2_500)),
)  # fmt: skip

QUICK = (
    Case(
        "craig-5k", "CRAIG, small", "craig", 200, 5, 16, 60, groups=2,
        opponents=(*OURS, *ASSEMBLED, "published", "random"),
    ),
    Case("greedy-5k", "Greedy alone, small", "greedy", 200, 5, 16, 60, opponents=(*OURS, "submodlib", "apricot")),
    Case("distances-5k", "Distances, small", "distances", 300, 5, 16, 0, opponents=(*OURS, "cdist", "sgemm")),
    Case(
        "gradmatch-2k-k300", "GradMatch, small", "matching", 200, 5, 16, 20, opponents=(*OURS, *OMPS, "published"),
        series=("matching-k", "k"),
    ),
    *(
        Case(
            f"growth-n-{n}", "growth with N, small", "craig", n, 5, 16, n // 4,
            opponents=("ours-reference", "ours-cpu"), series=("growth-n", "N"),
        )
        for n in (50, 100)
    ),
)  # fmt: skip

BARS = (
    Bar("craig-5k", "speedup", 10.0, quality=1.001),
    Bar("craig-50k", "seconds", 10.0),
    Bar("craig-50k", "gib", 2.0),
    Bar("greedy-5k", "speedup", 15.0, against="submodlib", quality=1.001),
    Bar("gradmatch-2k-k300", "speedup", 100.0, against="published", quality=1.0),
    Bar("gradmatch-5k", "seconds", 8.0),
    Bar("distances-5k", "sgemm", 0.6),
)


def select(patterns: list[str], quick: bool) -> tuple[Case, ...]:
    """The cases whose name or series matches one of the shell patterns (all when there is none).

    Raises:
        ValueError: a pattern matches nothing.
    """
    cases = QUICK if quick else CASES
    chosen: list[Case] = []
    for pattern in patterns or ["*"]:
        hits = [c for c in cases if fnmatch(c.name, pattern) or (c.series and fnmatch(c.series[0], pattern))]
        if not hits:
            raise ValueError(f"--case {pattern} names no case; there are: {', '.join(c.name for c in cases)}")
        chosen += [c for c in hits if c not in chosen]
    return tuple(chosen)
