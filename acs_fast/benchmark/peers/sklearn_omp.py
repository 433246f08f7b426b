"""scikit-learn's Gram-space orthogonal matching pursuit, the Gram matrix by one BLAS product."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import orthogonal_mp_gram

from acs_fast.benchmark.peers.dense import dense
from acs_fast.benchmark.problems import Problem, Selection


def matching(problem: Problem) -> Selection:
    parts = []
    for members, budget in zip(problem.groups, problem.budgets, strict=True):
        x = dense(problem.g[members])
        gram, correlations = (y.double().numpy() for y in (x @ x.T, x @ x.sum(0)))
        weights = orthogonal_mp_gram(gram, correlations, n_nonzero_coefs=budget, copy_Gram=False, copy_Xy=False)
        picks = np.flatnonzero(weights)
        parts.append((members[torch.as_tensor(picks)], torch.as_tensor(weights[picks])))
    return Selection(*(torch.cat(x) for x in zip(*parts, strict=True)))
