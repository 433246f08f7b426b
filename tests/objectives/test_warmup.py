"""Attacks that grow with the batches of training."""

import pytest
import torch

import acs_fast as acs


@pytest.fixture
def model(model):
    return model.train()


def test_each_batch_has_the_attack_of_its_size(model, batch):
    objective, reference = acs.EpsWarmup(acs.PGD(0.1, 0.03, 3, seed=3), 4), acs.PGD(0.1, 0.03, 3, seed=3)
    for factor in (0.25, 0.5, 0.75, 1.0, 1.0):
        assert torch.equal(objective.perturb(model, *batch), reference.scaled(factor).perturb(model, *batch))


def test_selections_do_not_count(model, batch):
    objective = acs.EpsWarmup(acs.FGSM(0.1, seed=3), 2)
    x, y = batch
    for _ in range(3):
        acs.last_layer_gradients(model, [(x, y)], objective)
    assert float((objective.perturb(model, x, y) - x).abs().max()) <= 0.05 + 1e-9
    assert float((objective.perturb(torch.compile(model, backend="eager"), x, y) - x).abs().max()) > 0.09


def test_loss_is_that_of_the_objective(model, batch):
    x, y = batch
    inner = acs.FGSMPGI(0.1, lam=4.0, seed=3)
    objective = acs.EpsWarmup(inner, 4)
    x_adv = objective.perturb(model, x, y, index=torch.arange(8))
    model.eval()
    assert torch.equal(objective.per_sample_loss(model, x, x_adv, y), inner.per_sample_loss(model, x, x_adv, y))
    assert objective.closed_form
    aligned = acs.EpsWarmup(acs.GradAlignFGSM(0.1, seed=3), 4)
    assert not aligned.closed_form
    small = acs.GradAlignFGSM(0.025, seed=3)
    assert torch.equal(aligned.per_sample_loss(model, x, x, y), small.per_sample_loss(model, x, x, y))


def test_a_resumed_warm_up_goes_on_with_the_same_bits(model, batch):
    first, second = (acs.EpsWarmup(acs.ATTA(0.1, seed=seed), 5) for seed in (1, 2))
    index = torch.arange(8)
    for _ in range(2):
        first.perturb(model, *batch, index=index)
    second.load_state_dict(first.state_dict())
    for _ in range(4):
        results = [o.perturb(model, *batch, index=index) for o in (first, second)]
        assert torch.equal(*results)


def test_both_attacks_of_a_selective_one_grow(model, batch):
    x, y = batch

    class Even:
        def contains(self, index):
            return index % 2 == 0

    objective = acs.EpsWarmup(acs.SelectiveAttack(acs.PGD(0.1, 0.1, 2, seed=1), acs.FGSM(0.1, seed=1), Even()), 4)
    size = (objective.perturb(model, x, y, index=torch.arange(8)) - x).abs().flatten(1).amax(1)
    torch.testing.assert_close(size, torch.full_like(size, 0.025))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="steps must be at least 1; got 0"):
        acs.EpsWarmup(acs.FGSM(0.1), 0)
    for unknown in (lambda x, y: x, acs.EpsWarmup(acs.FGSM(0.1), 2)):
        with pytest.raises(TypeError, match="attack must have a radius to be scaled"):
            acs.EpsWarmup(unknown, 2)
