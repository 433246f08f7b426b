"""Robust accuracy under restarts, what still stands after an attack, and the rule of catastrophic overfitting."""

import pytest
import torch
from torch import nn

from acs_fast.evaluation.accuracy import count_standing, overfits_catastrophically, robust_accuracy, standing
from acs_fast.objectives import PGD
from tests.evaluation.thresholds import CPU, Threshold, Waves, flat, thresholded


class Recording(PGD):
    """PGD that keeps what it was given and what it made."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.batches = []

    def perturb(self, model, x, y):
        x_adv = super().perturb(model, x, y)
        self.batches.append((x.clone(), x_adv.clone()))
        return x_adv


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_restarts_start_at_random_points_of_the_ball(norm):
    """With alpha = 0 the attack returns its start: inside the ball, never the same, and spread over it."""
    x, eps = torch.full((400, 1, 3, 3), 0.5), 0.2
    attack = Recording(eps, 0.0, 1, norm, seed=0)
    always_right = nn.Sequential(nn.Flatten(), nn.Linear(9, 2))
    with torch.no_grad():
        always_right[1].weight.zero_()
        always_right[1].bias.copy_(torch.tensor([1.0, 0.0]))
    assert robust_accuracy(always_right, [(x, torch.zeros(400, dtype=torch.long))], attack, CPU, 10) == 1.0
    assert len(attack.batches) == 10
    starts = torch.stack([(x_adv - x0).flatten(1) for x0, x_adv in attack.batches])
    sizes = starts.abs().amax(2) if norm == "linf" else starts.norm(dim=2)
    assert float(sizes.max()) <= eps * (1 + 1e-5)
    assert len({tuple(s.flatten().tolist()) for s in starts}) == 10
    uniform = (sizes / eps) ** 9  # the share of the ball's volume inside: uniform in [0, 1] for a uniform start
    assert abs(float(uniform.mean()) - 0.5) < 0.02
    assert abs(float(uniform.var()) - 1 / 12) < 0.01


def test_only_what_still_stands_is_attacked_again():
    ((x, y),) = thresholded([0.05, 0.45, 0.55, 0.95, 0.99])
    batches = [(torch.cat([x, flat([0.9])]), torch.cat([y, torch.tensor([0])]))]  # one is wrong anyway
    attack = Recording(0.1, 0.1, 3, seed=0)
    assert robust_accuracy(Threshold(), batches, attack, CPU, 4) == 3 / 6
    sizes = [len(x) for x, _ in attack.batches]
    assert sizes == [5, 3, 3, 3]


def test_one_broken_restart_is_enough():
    """An attack that succeeds only at its second restart still breaks the image."""

    class Second(PGD):
        calls = 0

        def perturb(self, model, x, y):
            self.calls += 1
            return 1.0 - x if self.calls == 2 else x

    images = thresholded([0.1, 0.9])
    assert robust_accuracy(Threshold(), images, Second(0.1, 0.1, 1), CPU, 1) == 1.0
    assert robust_accuracy(Threshold(), images, Second(0.1, 0.1, 1), CPU, 3) == 0.0


def test_standing_leaves_out_what_it_is_told_to():
    ((x, y),) = thresholded([0.1, 0.2, 0.8, 0.9])
    among = torch.tensor([True, False, False, True])
    attack = Recording(0.05, 0.05, 1, seed=0)
    assert standing(Threshold(), x, y, attack, among=among).tolist() == [True, False, False, True]
    assert [len(x) for x, _ in attack.batches] == [2]
    nobody = torch.zeros(4, dtype=torch.bool)
    assert standing(Threshold(), x, y, attack, among=nobody).tolist() == [False] * 4


def test_figures_do_not_depend_on_who_counts_which_batch():
    """Batches are seeded by their number, so that processes that share them find the same."""
    ((x, y),) = thresholded([(i + 0.5) / 40 for i in range(40)])
    batches = list(zip(x.split(7), y.split(7), strict=True))
    attack = PGD(0.1, 0.0, 1, seed=0)  # its random start alone
    whole = count_standing(Threshold(), batches, attack, CPU, seed=3)
    parts = [
        count_standing(Threshold(), batches[r::2], attack, CPU, seed=3, numbers=range(r, len(batches), 2))
        for r in range(2)
    ]
    assert torch.equal(whole, parts[0] + parts[1])
    assert int(whole[1]) == 40


@pytest.mark.parametrize(
    ("fgsm", "robust", "best", "fires"),
    [
        (0.80, 0.00, 0.40, True),  # the textbook case
        (0.35, 0.10, 0.40, True),
        (0.45, 0.40, 0.40, False),  # healthy
        (0.42, 0.21, 0.40, False),  # above half of the best
        (0.22, 0.18, 0.40, False),  # both fell: divergence
        (0.10, 0.00, 0.40, False),
        (0.90, 0.00, 0.00, False),  # never was robust
        (0.90, 0.00, -1.0, False),  # the first epoch
        (0.20, 0.02, 0.10, False),  # the best was one class for every image
        (0.20, 0.02, 0.16, True),
    ],
)
def test_rule_of_catastrophic_overfitting(fgsm, robust, best, fires):
    assert overfits_catastrophically(fgsm, robust, best, chance=0.1) is fires


def test_a_model_that_defeats_one_step_only_is_told_from_a_robust_one():
    """A step of one period leads back to a crest, half a period into the trough; the threshold has no such fold."""
    one_step, many = PGD(0.1, 0.1, 1, random_start=False), PGD(0.1, 0.025, 10, seed=0)
    values = [0.5 + 0.001 * (i + 1) for i in range(20)]
    waves = [(flat(values), torch.zeros(20, dtype=torch.long))]
    scores = [robust_accuracy(Waves(0.1), waves, attack, CPU) for attack in (one_step, many)]
    assert scores[0] == 1.0
    assert overfits_catastrophically(*scores, best_robust=0.6, chance=0.5)
    far = thresholded([0.5 + s * 0.02 * (i + 1) for i in range(10) for s in (-1, 1)])
    scores = [robust_accuracy(Threshold(), far, attack, CPU) for attack in (one_step, many)]
    assert scores[0] == pytest.approx(scores[1], abs=0.1)
    assert not overfits_catastrophically(*scores, best_robust=0.6, chance=0.5)
