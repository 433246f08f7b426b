"""SPAMS: Cholesky-based orthogonal matching pursuit in C++ on BLAS, float32, unit-norm atoms."""

from __future__ import annotations

import numpy as np
import spams
import torch

from acs_fast.benchmark.peers.dense import dense
from acs_fast.benchmark.problems import Problem, Selection


def matching(problem: Problem) -> Selection:
    x = dense(problem.g)
    norms = torch.linalg.vector_norm(x, dim=1)
    target = x.sum(0).numpy()[:, None]
    atoms = x.div_(norms.clamp_min(torch.finfo(x.dtype).tiny)[:, None])
    code = spams.omp(
        np.asfortranarray(target), atoms.numpy().T, L=problem.budget, eps=0.0, numThreads=torch.get_num_threads()
    )
    picks = torch.as_tensor(code.indices.astype(np.int64))
    return Selection(picks, torch.as_tensor(code.data) / norms[picks])
