"""Operators and selections at the sizes that users have, each against every opponent that can do it."""

from __future__ import annotations

from acs_fast.benchmark.problems import OpCase
from acs_fast.benchmark.suite import NO_KERNELS
from benchmarks.ops.pixels import PixelCase

GIB = 2**30
LIMITS = {
    f"ours-cpu-{gib:g}-gib": int(gib * GIB) for gib in (0.5, 1.0, 2.0, 4.0, 8.0)
}  # memory= of the matrix-free path
OURS = ("ours-cpu", "ours-triton", "ours-cuda", "ours-reference")
MATCHING = (*(b for b in OURS if b not in NO_KERNELS["matching"]), "spams", "batched-omp", "sklearn-omp")
ASSEMBLED = ("cdist-submodlib", "blas-submodlib", "blas-apricot")
PUBLISHED_DISTANCES = {"published": "N x M x P expansion, measured in craig-1k"}


def _by_n(n: int) -> OpCase:
    slow = ("blas-submodlib",) if n <= 10_000 else ()
    slow += ("ours-reference", "blas-apricot") if n <= 5_000 else ()
    return OpCase(
        f"growth-n-{n}", "growth with N", "craig", n, 10, 512, 3 * n // 10, seconds=6.0,
        opponents=(*OURS[:3], *slow), series=("growth-n", "N"),
    )  # fmt: skip


def _by_k(k: int) -> OpCase:
    return OpCase(
        f"growth-k-{k}", "growth with k", "craig", 5_000, 10, 512, k, seconds=3.0,
        opponents=(*OURS[:3], "blas-submodlib", "blas-apricot"), series=("growth-k", "k"),
    )  # fmt: skip


CASES = (
    OpCase(
        "craig-5k", "CRAIG, one class of CIFAR-10's size", "craig", 5_000, 10, 512, 1_500, seconds=16.0,
        opponents=(*OURS, *ASSEMBLED, "mixed-submodlib", "random"), not_run=PUBLISHED_DISTANCES,
    ),
    OpCase(
        "craig-50k", "CRAIG, all of CIFAR-10's size, per class", "craig", 50_000, 10, 512, 15_000, groups=10,
        opponents=(*OURS, *ASSEMBLED[1:], "random"), not_run=PUBLISHED_DISTANCES,
    ),
    OpCase(
        "craig-cifar100", "CRAIG, all of CIFAR-100's size, per class", "craig", 50_000, 100, 512, 15_000, groups=100,
        opponents=(*OURS, *ASSEMBLED[1:], "random"), not_run=PUBLISHED_DISTANCES,
    ),
    OpCase(
        "craig-imagenet", "CRAIG, one class of ImageNet's size", "craig", 1_281, 1_000, 2_048, 384, limit_s=240.0,
        opponents=(*OURS, "cdist-submodlib", "blas-submodlib", "random"), not_run=PUBLISHED_DISTANCES,
    ),
    OpCase(
        "craig-1k", "CRAIG with the published recipe", "craig", 1_000, 10, 512, 300,
        opponents=(*OURS, *ASSEMBLED, "published", "random"),
    ),
    OpCase(
        "greedy-5k", "Greedy alone on a given matrix", "greedy", 5_000, 10, 512, 1_500,
        opponents=(*OURS, "submodlib", "apricot", "random"),
    ),
    OpCase(
        "distances-5k", "Distances alone", "distances", 5_000, 10, 512, 0, seconds=6.0,
        opponents=("ours-cpu", "ours-triton", "ours-reference", "cdist", "blas", "sgemm"), not_run=PUBLISHED_DISTANCES,
    ),
    *(
        OpCase(
            f"distances-{n // 1000}k", "Distances alone", "distances", n, 10, 512, 0, seconds=40.0,
            opponents=("ours-cpu", "ours-triton", "sgemm"),
        )
        for n in (20_000, 40_000)
    ),
    PixelCase(
        "pixels-60k", "CRAIG, all images of Fashion-MNIST as one problem", "craig", 60_000, 1, 784, 6_000,
        opponents=tuple(LIMITS), seconds=0.0, limit_s=400.0,
    ),
    *(
        OpCase(
            f"gradmatch-2k-k{k}", "GradMatch", "matching", 2_000, 10, 512, k, seconds=6.0,
            opponents=(*MATCHING, "published"), series=("matching-k", "k"),
        )
        for k in (100, 200, 300)
    ),
    OpCase(
        "gradmatch-5k", "GradMatch, one class of CIFAR-10's size", "matching", 5_000, 10, 512, 1_500, seconds=12.0,
        limit_s=40.0, opponents=MATCHING,
        not_run={"published": "grows with about the cube of k, measured up to k = 300"},
    ),
    *(_by_n(n) for n in (1_000, 2_000, 5_000, 10_000, 20_000)),
    *(_by_k(k) for k in (100, 500, 1_500, 2_500)),
)  # fmt: skip

QUICK = (
    OpCase(
        "craig-5k", "CRAIG, small", "craig", 200, 5, 16, 60, groups=2,
        opponents=(*OURS, *ASSEMBLED, "published", "mixed-submodlib", "random"),
    ),
    OpCase("greedy-5k", "Greedy alone, small", "greedy", 200, 5, 16, 60, opponents=(*OURS, "submodlib", "apricot")),
    OpCase("distances-5k", "Distances, small", "distances", 300, 5, 16, 0, opponents=(*OURS[:2], "cdist", "sgemm")),
    OpCase(
        "gradmatch-2k-k300", "GradMatch, small", "matching", 200, 5, 16, 20, opponents=(*MATCHING, "published"),
        series=("matching-k", "k"),
    ),
    *(
        OpCase(
            f"growth-n-{n}", "growth with N, small", "craig", n, 5, 16, n // 4,
            opponents=("ours-reference", "ours-cpu"), series=("growth-n", "N"),
        )
        for n in (50, 100)
    ),
)  # fmt: skip
