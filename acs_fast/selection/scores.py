"""Selectors by a score of each sample: as a fixed subset, and as soft pruning that changes every epoch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from acs_fast._util.checks import check_choice, check_number
from acs_fast.coreset import Coreset
from acs_fast.selection.design import Design
from acs_fast.selection.groups import partition
from acs_fast.selection.resampled import Resampled
from acs_fast.selection.selector import Choice, Pool, bare_stats

SCORES = ("loss", "el2n", "input")
SOFT_COOL_DOWN = 0.125  # share of the epochs at the end that goes to full data


def score_of(pool: Pool, score: str) -> Tensor:
    """[N] float64 on the CPU; the samples with high scores are those to keep.

    "loss": the training loss at the adversarial example. "el2n": the Euclidean norm of the residuals there (of the
    softmax minus the label, for cross-entropy). "input": minus the norm of the cross-entropy's gradient at the clean
    image, so that samples far from a decision boundary are kept.

    Raises:
        ValueError: the pool does not hold what the score needs.

    Source: "el2n" Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet", NeurIPS 2021; "input" Ramesh et al., "The
    Easy Path to Robustness: Coreset Selection using Sample Hardness", 2025 (there averaged over training).
    """
    if score == "el2n":
        found = None if pool.gradients is None else pool.gradients.residuals.double().flatten(1).norm(dim=1)
    else:
        found = pool.losses if score == "loss" else pool.input_norms
    if found is None:
        needed = {"el2n": "gradients", "loss": "losses", "input": "input_norms"}[score]
        raise ValueError(f"pool must hold {needed} for the score {score!r}; got none")
    scores: Tensor = found.detach().cpu().double()
    return -scores if score == "input" else scores


@dataclass(frozen=True)
class TopScore:
    """The samples with the highest scores, chosen once; of every class its share, all weights equal within a class.

    Args:
        score: "loss", "el2n" or "input"; see `score_of`.
        granularity: "class" or "global".
    """

    score: str = "el2n"
    granularity: str = "class"
    needs_gradients = True
    needs_labels = False
    redraws = False
    fixed = True

    def __post_init__(self) -> None:
        check_choice("score", self.score, SCORES)
        check_choice("granularity", self.granularity, ("class", "global"))

    @property
    def needs_input_norms(self) -> bool:
        return self.score == "input"

    def choose(self, pool: Pool, fraction: float, seed: int) -> Choice:
        scores = score_of(pool, self.score)
        groups = pool.labels.cpu() if self.granularity == "class" and pool.labels is not None else None
        problems = partition(groups, pool.n, torch.device("cpu"))
        shares = problems.share(max(1, int(fraction * pool.n)))
        picks = [
            members[scores[members].argsort(descending=True, stable=True)[:k]]
            for members, k in zip(problems, shares.tolist(), strict=True)
        ]
        weights = (problems.sizes / shares).repeat_interleave(shares)
        budget = int(shares.sum())
        coreset = Coreset(torch.cat(picks), weights.float(), torch.zeros(len(weights)), bare_stats(budget))
        return Choice(coreset.check(pool.n, budget, weight_sum=pool.n))


@dataclass(frozen=True)
class SoftPruning(Resampled):
    r"""In every epoch a random part of the samples with scores below the mean is left out, the kept ones count more.

    Samples with scores below the mean are kept with probability ``min(1, (1 - ratio) c)``, the others with
    ``min(1, c)``, and c makes their number the budget (with granularity "class" the share of each class); weights are
    one over the probability. Where the budget is just all samples above the mean and a share 1 - ratio of the others,
    then c = 1, as published. Under the house rule weights are relative to the mean weight N / k. The end of the run
    trains on full data (`cool_down`).

    Args:
        score: "loss", "el2n" or "input"; see `score_of`.
        ratio: in [0, 1).

    Source: Qin et al., "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning", ICLR 2024.
    """

    score: str = "loss"
    ratio: float = 0.5
    cool_down = SOFT_COOL_DOWN
    updates_for_free = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("score", self.score, SCORES)
        if check_number("ratio", self.ratio, low=0.0, high=1.0) == 1.0:
            raise ValueError("ratio must be below 1, since samples that are never drawn leave a bias; got 1")

    @property
    def needs_input_norms(self) -> bool:
        return self.score == "input"

    def prepare(self, pool: Pool, fraction: float, seed: int) -> Design:
        scores = score_of(pool, self.score)
        sizes = torch.where(scores < scores.mean(), 1.0 - self.ratio, 1.0)
        return self.proportional_design(pool, sizes, fraction)
