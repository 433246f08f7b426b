"""scikit-learn's Gram-space orthogonal matching pursuit, the Gram matrix by one BLAS product."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import orthogonal_mp_gram

from benchmarks.peers.dense import dense
from benchmarks.problem import Problem, Selection


def matching(problem: Problem) -> Selection:
    x = dense(problem.g)
    weights = orthogonal_mp_gram(
        (x @ x.T).double().numpy(),
        (x @ x.sum(0)).double().numpy(),
        n_nonzero_coefs=problem.budget,
        copy_Gram=False,
        copy_Xy=False,
    )
    picks = np.flatnonzero(weights)
    return Selection(torch.as_tensor(picks), torch.as_tensor(weights[picks]))
