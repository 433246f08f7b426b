"""FGSM from a sample's prior, and a loss that looks at both ends of the step."""

import copy
import gc
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import acs_fast as acs
from acs_fast.objectives.balls import ball
from acs_fast.objectives.prior_guided import Starts
from tests.helpers import gradient_signs

CPU = torch.device("cpu")


def start_of(objective, x_adv):
    return objective.loss.views(x_adv, x_adv)[0]


def test_without_numbers_every_attack_starts_at_random(model, batch):
    x, y = batch
    objective, again = acs.FGSMPGI(0.1, seed=3), acs.FGSMPGI(0.1, seed=3)
    for _ in range(2):
        start = ball("linf", 0.1).random(x, again.attack.generator(CPU))
        end = ball("linf", 0.1).project(start + 0.1 * gradient_signs(model, start, y), x)
        x_adv = objective.perturb(model, x, y)
        torch.testing.assert_close(x_adv, end, rtol=0, atol=1e-12)
        torch.testing.assert_close(start_of(objective, x_adv), start, rtol=0, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.3])
def test_priors_follow_the_sample_and_not_its_place(model, batch, momentum):
    x, y = batch
    objective = acs.FGSMPGI(0.1, momentum=momentum, seed=3)
    index = torch.tensor([5, 0, 11, 3, 2, 7, 1, 9])
    x_adv = objective.perturb(model, x, y, index=index)
    start = start_of(objective, x_adv)
    back = torch.arange(7, -1, -1)
    objective.perturb(model, x[back], y[back])  # a batch without numbers leaves the memory alone
    second = objective.perturb(model, x[back], y[back], index=index[back])
    found = start_of(objective, second)[back]
    torch.testing.assert_close(found, x_adv, rtol=0, atol=1e-12)  # the first step is along the first gradient's sign
    direction = gradient_signs(model, start, y) * momentum + gradient_signs(model, x_adv, y)
    expected = ball("linf", 0.1).project(x_adv + 0.1 * direction.sign(), x)
    third = objective.perturb(model, x, y, index=index)
    torch.testing.assert_close(start_of(objective, third), expected, rtol=0, atol=1e-12)


def test_loss_is_the_published_one(model, batch):
    x, y = batch
    objective = acs.FGSMPGI(0.1, lam=4.0, seed=3)
    x_adv = objective.perturb(model, x, y)
    apart = (model(x_adv) - model(start_of(objective, x_adv))).square().sum(1) / 5
    expected = F.cross_entropy(model(x_adv), y, reduction="none") + 4.0 * apart
    for result in (x_adv, x_adv.detach()):
        torch.testing.assert_close(objective.per_sample_loss(model, x, result, y), expected)


def test_two_batches_are_under_way_at_once(model, batch):
    x, y = batch
    objective = acs.FGSMPGI(0.1, lam=4.0, seed=3)
    results = [objective.perturb(model, x[part], y[part]) for part in (slice(0, 4), slice(4, 8))]
    starts = [start_of(objective, x_adv) for x_adv in results]
    assert not torch.equal(*starts)
    losses = objective.per_sample_loss(model, x[:4], results[0], y[:4])  # the older one
    apart = (model(results[0]) - model(starts[0])).square().mean(1)
    torch.testing.assert_close(losses, F.cross_entropy(model(results[0]), y[:4], reduction="none") + 4.0 * apart)


def test_other_images_have_no_start(model, batch):
    x, y = batch
    objective = acs.FGSMPGI(0.1)
    x_adv = objective.perturb(model, x, y)
    for other in (x, x_adv.clone(), x_adv[:4], acs.FGSMPGI(0.1).perturb(model, x, y)):
        with pytest.raises(ValueError, match="x_adv must be what perturb returned, whole and no copy"):
            objective.per_sample_loss(model, x[: len(other)], other, y[: len(other)])


def test_starts_live_as_long_as_their_results():
    starts, x_adv = Starts(), torch.rand(3, 4)
    starts.note(x_adv, torch.zeros(3, 4))
    kept = x_adv.detach()
    del x_adv
    gc.collect()
    assert starts.of(kept).shape == (3, 4)
    del kept
    gc.collect()
    assert len(starts._by_result) == 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_copies_go_on_by_themselves(model, batch, copied):
    x, y = batch
    objective, index = acs.FGSMPGI(0.1, seed=3), torch.arange(8)
    objective.perturb(model, x, y, index=index)
    other = copied(objective)
    results = [o.perturb(model, x, y, index=index) for o in (objective, other)]
    assert torch.equal(*results)
    losses = [o.per_sample_loss(model, x, v, y) for o, v in zip((objective, other), results, strict=True)]
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (torch.arange(7), ValueError, r"index must have shape \[8\] like the batch; got \[7\]"),
        (torch.rand(8), TypeError, r"index must hold integers; got torch\.float32"),
        (torch.arange(8) - 1, ValueError, "index must be sample numbers, 0 or more; got -1"),
    ],
)
def test_bad_sample_numbers_are_named(model, batch, index, error, message):
    with pytest.raises(error, match=message):
        acs.FGSMPGI(0.1).perturb(model, *batch, index=index)


def test_images_of_another_size_are_named():
    flat = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, 3))
    objective, y = acs.FGSMPGI(0.1), torch.zeros(2, dtype=torch.int64)
    objective.perturb(flat, torch.rand(2, 1, 8, 8), y, index=torch.arange(2))
    with pytest.raises(
        ValueError, match=r"index must number images of one shape: \[1, 8, 8\] is remembered, \[1, 9, 9\]"
    ):
        objective.perturb(flat, torch.rand(2, 1, 9, 9), y, index=torch.arange(2))
