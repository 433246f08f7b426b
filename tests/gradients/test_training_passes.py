"""Selection from what training passes showed of each sample."""

import pytest
import torch

import acs_fast as acs
from tests.helpers import ConvNet, images
from tests.loops import CountingPGD, N, build, sgd, train


def refreshed(objective=None, **options):
    """A coreset on training passes, with full-data epochs before each selection."""
    sources = []

    def source(model, data, objective):
        sources.append(acs.TrainingPasses(model, objective))
        return sources[0]

    schedule = acs.Schedule.refreshing(12, 0.3, period=2, warm_start=0.4)
    return build(objective=objective, source=source, schedule=schedule, epochs=None, **options), sources[0]


def test_selection_attacks_nothing():
    """Every attack of the run is one of training, and the full-data epochs count as what they visit."""
    objective = CountingPGD(0.1, 0.05, 2, seed=1)
    coreset, passes = refreshed(objective)
    visited = train(coreset, coreset.epochs, sgd(coreset), passes.observe)
    assert objective.attacked == sum(map(len, visited.values()))
    assert not [h for h in coreset.history if "attack" in h["seconds"]]
    kinds = [coreset.schedule.kind(e) for e in coreset.epochs]
    assert kinds == ["full", "coreset", "coreset", "full", "coreset", "coreset", "coreset"]
    assert [h["epoch"] for h in coreset.history] == [4, 9]
    assert sum(map(len, visited.values())) == 2 * N + 5 * 18


def test_factors_are_those_of_the_training_pass():
    coreset, passes = refreshed(acs.TRADES(6.0, 0.1, 0.05, 1, seed=0))
    model, (x, y) = coreset.model, coreset.dataset.dataset.tensors
    index = torch.randperm(N)
    x_adv = (x + 0.05).clamp(0, 1)
    model.eval()  # so that the two computations see the same
    with passes.observe(index, y[index]):
        coreset.objective.per_sample_loss(model, x[index], x_adv[index], y[index]).mean().backward()
    taken = passes(seed=0)
    losses = coreset.objective.per_sample_loss(model, x, x_adv, y)
    assert torch.equal(taken.labels, y)
    for i in (0, 17, 59):
        expected = torch.autograd.grad(losses[i], (model.head.weight, model.head.bias), retain_graph=True)
        dense = torch.cat([expected[0].flatten(), expected[1]])
        torch.testing.assert_close(taken.gradients[i].dense()[0], dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("index", "labels"), [(3, 2), (2, 3), (3, 3)])
def test_samples_must_be_those_of_the_pass(index, labels):
    coreset, passes = refreshed()
    x = coreset.dataset.dataset.tensors[0]
    with (
        pytest.raises(ValueError, match=f"the 2 samples of the forward pass inside observe; got {index} and {labels}"),
        passes.observe(torch.arange(index), torch.arange(labels)),
    ):
        coreset.model(x[:2])


def test_watching_needs_a_model_whose_passes_can_be_seen():
    for model in (torch.compile(ConvNet()), torch.nn.DataParallel(ConvNet())):
        with pytest.raises(TypeError, match=r"torch.compile and DataParallel hide; .* use AttackPass"):
            acs.TrainingPasses(model, acs.PGD(0.1, 0.05, 1))
    with pytest.raises(TypeError, match="use AttackPass"):
        acs.TrainingPasses(ConvNet(), acs.GradAlignFGSM(0.1))


def test_finding_the_head_changes_nothing():
    """Neither the random state, from which dropout draws, nor batch-norm statistics beyond the pass itself."""
    x, y = images(8)
    after = []
    for watched in (False, True):
        torch.manual_seed(7)
        model = ConvNet()
        passes = acs.TrainingPasses(model, acs.PGD(0.1, 0.05, 1))
        torch.manual_seed(3)
        if watched:
            with passes.observe(torch.arange(8), y):
                out = model(x)
        else:
            out = model(x)
        after.append((out.detach(), torch.rand(4), model.norm.running_mean.clone(), model.norm.num_batches_tracked))
    assert all(torch.equal(a, b) for a, b in zip(*after, strict=True))


def test_unobserved_samples_are_said():
    coreset, passes = refreshed()
    with pytest.raises(ValueError, match=r"run the forward pass of the loss inside `with passes.observe"):
        coreset.step(4)
    with pytest.raises(ValueError, match="must run inside observe"), passes.observe(torch.arange(2), torch.arange(2)):
        pass
    x, y = coreset.dataset.dataset.tensors
    with passes.observe(torch.tensor([0, 3]), y[:2]):
        coreset.model(x[:2])
    with pytest.raises(ValueError, match="2 of 4 were not observed"):
        passes(seed=0)
    with passes.observe(torch.arange(4), y[:4]):
        coreset.model(x[:4])
    with pytest.raises(ValueError, match="gradients must be those of all 60 samples; got 4"):
        coreset.step(4)


def test_every_epoch_shows_all_samples_to_a_selective_run():
    coreset = build(
        source=lambda model, data, objective: acs.TrainingPasses(model, objective), epochs=None,
        schedule=acs.Schedule.every(12, period=2, warm_start=0.1),
    )  # fmt: skip
    visited = train(coreset, range(5), sgd(coreset), coreset.gradients.observe)
    assert [sorted(v) for v in visited.values()] == [list(range(N))] * 5
    assert [h["epoch"] for h in coreset.history] == [1, 3]
    assert int(coreset.contains(torch.arange(N)).sum()) == 18


def test_a_head_without_a_bias():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 5, bias=False))
    x, y = images(6)
    passes = acs.TrainingPasses(model, acs.Vanilla())
    with passes.observe(torch.arange(6), y):
        model(x)
    assert not passes(0).gradients.bias
