"""Cases of `acs-fast bench`: every operator on one class, then whole selections, at sizes of one's own."""

from __future__ import annotations

from dataclasses import dataclass

from acs_fast._util.options import option
from acs_fast.benchmark.opponents import OPPONENTS
from acs_fast.benchmark.problems import OpCase
from acs_fast.ops import cpu
from acs_fast.ops.backends import ON_GPU

DTYPES = ("float32", "float64", "bfloat16", "float16")
BACKENDS = ("ours-reference", "ours-cpu", "ours-triton", "ours-cuda")
WORK = 3e11  # N^2 C D of a case, which the reference path does in some seconds: larger classes are cut, and of whole
MOST_CLASSES = 10  # selections so many classes stand for all, since each is a problem of its own
MATCHED, PICKED_BY_MATCHING, PICK_PAIRS = 2_000, 300, 3e5  # gradient matching: samples, picks, and sum of picks^2
NO_KERNEL = "it has no kernels of its own for this operator"
OPERATORS = {
    "cross_entropy": "cross_entropy_residuals",
    "trades": "trades_residuals",
    "distances": "pairwise_distances",
    "greedy": "greedy",
    "craig": "facility_location",
    "matching": "gradient_matching",
}
KERNELS = {"ours-cpu": (*cpu.IMPLEMENTATIONS,), **{f"ours-{backend}": ops for backend, ops in ON_GPU.items()}}
NO_KERNELS = {task: tuple(b for b, ops in KERNELS.items() if op not in ops) for task, op in OPERATORS.items()}
PEERS = {
    "distances": ("cdist", "blas"),
    "greedy": ("submodlib", "apricot"),
    "craig": ("blas-submodlib", "blas-apricot"),
    "matching": ("sklearn-omp",),
}


@dataclass(frozen=True)
class Shape:
    """Sizes of a data set and of a classifier's last layer."""

    n: int = option(10_000, "samples in all", group="sizes")
    classes: int = option(10, "classes", group="sizes")
    dim: int = option(256, "inputs of the last layer", group="sizes")
    fraction: float = option(0.3, "part of the samples to select", group="sizes")
    dtype: str = option("float32", "of gradients and logits", group="sizes", choices=DTYPES)

    def __post_init__(self) -> None:
        for name, low in (("n", 2), ("classes", 2), ("dim", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"--{name} must be at least {low}; got {getattr(self, name)}")
        if not 0.0 < self.fraction <= 1.0:
            raise ValueError(f"--fraction must be in (0, 1]; got {self.fraction:g}")

    @property
    def members(self) -> int:
        """Samples of one class, as many as a case may have."""
        return max(2, min(self.n // self.classes, int((WORK / self.classes / self.dim) ** 0.5)))


LIKE = {
    "cifar10": Shape(50_000, 10, 512),
    "cifar100": Shape(50_000, 100, 512),
    "imagenet": Shape(1_281_167, 1_000, 2_048),
}


def cases(shape: Shape, device: str, peers: bool = True) -> tuple[OpCase, ...]:
    """Every operator and the whole selection; classes are problems of their own, so that a few stand for all."""
    one, some = shape.members, min(shape.members, MATCHED)
    per_class = min(shape.classes, MOST_CLASSES, max(1, int(WORK / shape.classes / shape.dim / one**2)))
    picks = max(1, int(shape.fraction * one))
    matching_picks = min(max(1, int(shape.fraction * some)), PICKED_BY_MATCHING)
    matched = min(per_class, max(1, int(PICK_PAIRS / matching_picks**2)))

    def case(name: str, title: str, task: str, n: int, budget: int, groups: int = 1) -> OpCase:
        lacking = NO_KERNELS[task]
        rivals = PEERS.get(task, ()) if peers and shape.dtype in DTYPES[:2] else ()
        return OpCase(
            name, title, task, n, shape.classes, shape.dim, budget, groups, shape.dtype,
            opponents=(*(b for b in BACKENDS if b not in lacking), *rivals),
            not_run={b: NO_KERNEL for b in lacking if device in OPPONENTS[b].devices}, seconds=2.5, limit_s=40.0,
        )  # fmt: skip

    return (
        case("cross_entropy_residuals", "residuals of cross-entropy", "cross_entropy", one, 0),
        case("trades_residuals", "residuals of TRADES", "trades", one, 0),
        case("pairwise_distances", "distances within a class", "distances", one, 0),
        case("greedy", "greedy on given distances", "greedy", one, picks),
        case("facility_location", "facility location within a class", "craig", one, picks),
        case("gradient_matching", "gradient matching within a class", "matching", some, matching_picks),
        case("craig", "CRAIG, whole selection", "craig", per_class * one, per_class * picks, per_class),
        case("gradmatch", "GradMatch, whole selection", "matching", matched * some, matched * matching_picks, matched),
    )
