"""The inverse-Cholesky OMP of Lubonja et al. (arXiv 2407.06434), package orthogonal-matching-pursuit-gpu.

Of its three algorithms only "v0" is used: "v0_blas" does not undo its normalisation of the atoms, and "naive" gave a
wrong answer on a single target. In float32, which it is fastest in.
"""

from __future__ import annotations

from orthogonal_matching_pursuit_gpu import run_omp

from acs_fast.benchmark.peers.dense import dense
from acs_fast.benchmark.problems import Problem, Selection


def matching(problem: Problem) -> Selection:
    x = dense(problem.g)
    weights = run_omp(
        x.T, x.sum(0)[None], problem.budget, precompute=True, normalize=True, fit_intercept=False, alg="v0"
    )[0]
    picks = weights.nonzero().flatten()
    return Selection(picks, weights[picks])
