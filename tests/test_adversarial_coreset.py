"""The loop: what each epoch trains on, weights, workers, resumption, augmentation."""

import io
import logging
from itertools import pairwise

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from acs_fast.selection import Choice, Craig, GradMatch, batch_gradients
from tests.data.test_samplers import Augmented
from tests.helpers import ConvNet, images, make_gradients

N = 60
SELECTORS = ("craig", "gradmatch", "random", "random-fixed", "random-stratified")


def build(selector="craig", seed=0, **options):
    torch.manual_seed(7)
    model = ConvNet()
    x, y = images(N)
    objective = acs.PGD(0.1, 0.05, 2, seed=1)
    settings = {"fraction": 0.3, "epochs": 10, "period": 3, "warm_start": 0.4, "batch_size": 16, **options}
    return acs.AdversarialCoreset(model, TensorDataset(x, y), objective, selector, seed=seed, **settings)


def train(coreset, epochs, optimizer, seen=None, workers=0):
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    loader = DataLoader(coreset.dataset, batch_size=16, sampler=coreset.sampler, **options)
    for epoch in epochs:
        coreset.step(epoch)
        coreset.model.train()
        used = []
        for x, y, index in loader:
            torch.manual_seed(epoch)  # of dropout: a loader draws from the global state when its workers start
            x_adv = coreset.objective.perturb(coreset.model, x, y)
            losses = coreset.objective.per_sample_loss(coreset.model, x, x_adv, y)
            loss = acs.weighted_mean(losses, coreset.weights(index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            used += index.tolist()
            assert torch.equal(x, coreset.dataset.dataset.tensors[0][index])
        if seen is not None:
            seen[epoch] = used


@pytest.mark.parametrize("selector", SELECTORS)
def test_epochs_train_on_what_the_schedule_says(selector):
    coreset = build(selector)
    seen = {}
    train(coreset, range(10), torch.optim.SGD(coreset.model.parameters(), 0.01), seen)
    assert coreset.epochs == [0, *range(4, 10)]
    assert sorted(seen[0]) == list(range(N))
    assert [len(seen[e]) for e in range(1, 4)] == [0, 0, 0]
    subsets = [frozenset(seen[e]) for e in range(4, 10)]
    assert {len(s) for s in subsets} == {18}
    changes = [a != b for a, b in pairwise(subsets)]
    redrawn = selector in ("random", "random-stratified")
    expected = (
        [True] * 5 if redrawn else [False] * 5 if selector == "random-fixed" else [False, False, True] + [False] * 2
    )
    assert changes == expected
    assert [h["epoch"] for h in coreset.history] == (
        list(range(4, 10)) if redrawn else [4] if selector == "random-fixed" else [4, 7]
    )


def test_first_coreset_epoch_is_always_selected_for():
    """Also when the loop starts late, or in the middle of a period."""
    coreset = build()
    assert coreset.step(5) is not None
    assert coreset.step(5) is None
    assert coreset.step(6) is None
    assert coreset.step(7) is not None


def test_weights_average_to_one_and_belong_to_the_batch():
    coreset = build()
    coreset.step(4)
    current = coreset.current
    weights = coreset.weights(current.indices)
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(weights / weights[0], current.weights / current.weights[0])
    torch.testing.assert_close(coreset.weights(current.indices, normalize="none"), current.weights)
    outside = next(i for i in range(N) if i not in set(current.indices.tolist()))
    with pytest.raises(ValueError, match=f"sample {outside} is not part of epoch 4"):
        coreset.weights(torch.tensor([outside]))
    coreset.step(0)
    assert coreset.weights(torch.arange(N)).tolist() == [1.0] * N


def test_weighted_batches_estimate_the_full_gradient():
    """The mean over batches of mean(w l) is sum(w l) / k, and with weights of mean 1 that is the coreset's estimate."""
    coreset = build(fraction=0.5)
    coreset.step(4)
    losses = torch.rand(N)
    index = coreset.current.indices
    whole = acs.weighted_mean(losses[index], coreset.weights(index))
    w = coreset.current.weights
    assert float(whole) == pytest.approx(float((w * losses[index]).sum() / w.sum()), rel=1e-5)
    halves = [acs.weighted_mean(losses[i], coreset.weights(i)) for i in index.split(15)]
    assert float(sum(halves) / 2) == pytest.approx(float(whole), rel=1e-5)


def test_weighted_mean():
    losses, weights = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])
    assert float(acs.weighted_mean(losses, weights)) == 3.5
    assert float(acs.weighted_mean(losses, weights, normalize="batch")) == 1.75
    assert float(acs.weighted_mean(losses, weights, denominator=7)) == 1.0
    with pytest.raises(ValueError, match="normalize must be one of"):
        acs.weighted_mean(losses, weights, normalize="sum")
    with pytest.raises(ValueError, match=r"losses and weights must both have shape \[B\]"):
        acs.weighted_mean(losses, weights[:1])


def test_persistent_workers_see_new_coresets_and_weights():
    runs = []
    for workers in (0, 2):
        coreset = build(epochs=8, period=2)
        seen = {}
        train(coreset, coreset.epochs, torch.optim.SGD(coreset.model.parameters(), 0.05), seen, workers)
        runs.append((seen, [p.detach().clone() for p in coreset.model.parameters()]))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(a, b) for a, b in zip(runs[0][1], runs[1][1], strict=True))


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("stop", [1, 3, 5])
def test_resumed_run_ends_with_the_same_bits(selector, stop):
    def fresh():
        coreset = build(selector)
        return coreset, torch.optim.SGD(coreset.model.parameters(), 0.05, momentum=0.9)

    whole, optimizer = fresh()
    expected = {}
    train(whole, whole.epochs, optimizer, expected)
    first, optimizer = fresh()
    train(first, first.epochs[:stop], optimizer)
    file = io.BytesIO()
    state = {"coreset": first.state_dict(), "model": first.model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    second, optimizer = fresh()
    second.model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    second.load_state_dict(state["coreset"])
    seen = {}
    train(second, second.epochs[stop:], optimizer, seen)
    assert seen == {e: expected[e] for e in second.epochs[stop:]}
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [h["epoch"] for h in second.history] == [h["epoch"] for h in whole.history]


def test_state_of_another_run_is_refused():
    state = build().state_dict()
    with pytest.raises(ValueError, match=r"these differ: fraction \(here 0.5, there 0.3\)"):
        build(fraction=0.5).load_state_dict(state)
    with pytest.raises(ValueError, match="these differ: selector"):
        build("gradmatch").load_state_dict(state)


@pytest.mark.parametrize("selector", ["craig", "gradmatch"])
@pytest.mark.parametrize("granularity", ["class", "batch", "global"])
def test_granularities(selector, granularity):
    coreset = build(selector, granularity=granularity, fraction=0.5)
    coreset.step(4)
    batches = list(coreset.batch_sampler)
    flat = [i for b in batches for i in b]
    assert sorted(flat) == sorted(coreset.current.indices.tolist())
    assert len(coreset.batch_sampler) == len(batches)
    if granularity == "batch":
        assert len(batches) == 2  # half of 4 mini-batches
        for batch in batches:
            assert len(set(coreset.weights(torch.tensor(batch)).tolist())) == 1
        coreset.step(5)
        assert sorted(map(tuple, coreset.batch_sampler)) == sorted(map(tuple, batches))  # they stay together
    else:
        assert len(flat) == 30
    if granularity == "class":
        labels = coreset.dataset.dataset.tensors[1]
        counts = torch.bincount(labels[coreset.current.indices], minlength=5)
        assert bool(((counts - torch.bincount(labels) / 2).abs() <= 1).all())


@pytest.mark.parametrize(("classes", "width"), [(3, 4), (40, 60)])
def test_batch_gradients_are_the_means(classes, width):
    """Both as dense vectors (first case) and as factors with more passes (second)."""
    g = make_gradients(23, classes, width, 2, torch.float64)
    batches = list(torch.randperm(23).split(5))
    means = batch_gradients(g, batches)
    expected = torch.stack([g[b].dense().sum(0) / 5 for b in batches])
    torch.testing.assert_close(means.gram(), expected @ expected.T)
    assert (means.residuals.shape[-1] == 1) == (classes == 3)


def test_custom_selectors():
    for chosen in (Craig("global", metric="sqeuclidean"), GradMatch(ridge=0.1, fill="none")):
        coreset = build(chosen)
        assert 0 < len(coreset.step(4)) <= 18
    with pytest.raises(TypeError, match="selector must be one of craig"):
        build(3)
    with pytest.raises(ValueError, match="selector must be one of"):
        build("best")


def test_statistics_and_diagnostics():
    stats = build().step(4).stats
    assert {"attack", "factors", "total"} <= stats["seconds"].keys()
    assert 0 < stats["relative_gradient_error"] < 10
    assert build("random").step(4).stats["relative_gradient_error"] is None
    measured = build("random", report_error=True).step(4).stats
    assert measured["relative_gradient_error"] > 0
    assert measured["seconds"]["diagnostics"] > 0
    assert measured["seconds"]["total"] < measured["seconds"]["diagnostics"]


def test_selection_sees_no_augmentation(caplog):
    data = Augmented(30)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    options = {"fraction": 0.5, "epochs": 2, "period": 1, "warm_start": 0.0}

    def picks(**more):
        coreset = acs.AdversarialCoreset(model, data, acs.Vanilla(), **options, **more)
        return coreset.step(0).indices.tolist()

    with caplog.at_level(logging.WARNING, "acs_fast"):
        picks()
    assert "random augmentation leaks into the selection" in caplog.text
    fixed = TensorDataset(torch.stack([torch.full((1, 2, 2), i / 100) for i in range(30)]), torch.tensor(data.targets))
    caplog.clear()
    torch.manual_seed(0)
    one = picks(selection_transform=lambda x: x)
    assert one == picks(selection_transform=lambda x: x) == picks(selection_dataset=fixed)
    assert caplog.text == ""
    assert not torch.equal(data[0][0], data[0][0])  # training goes on with augmentation
    with pytest.raises(ValueError, match="selection_dataset must hold the same 30 samples"):
        picks(selection_dataset=TensorDataset(torch.zeros(3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0.0}, "fraction must be finite"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"granularity": "sample"}, "granularity must be one of 'batch', 'class', 'global'"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"rank": 1}, "rank must be below world_size"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_epoch_outside_the_schedule():
    with pytest.raises(ValueError, match="epoch must be below epochs, 10; got 10"):
        build().step(10)


def test_state_is_a_snapshot_and_is_checked():
    coreset = build("random")
    coreset.step(4)
    state = coreset.state_dict()
    coreset.step(5)
    assert len(state["history"]) == 1
    with pytest.raises(ValueError, match=r"state must be what state_dict\(\) returned; it lacks batches, config"):
        build().load_state_dict(None)
    other = build("random")
    other.objective.attack.steps = 9
    with pytest.raises(ValueError, match="these differ: objective"):
        other.load_state_dict(state)


def test_fraction_too_small_for_the_classes_is_said_at_once():
    with pytest.raises(ValueError, match="fraction must leave at least one sample for each of the 5 classes"):
        build(fraction=0.05)
    build(fraction=0.05, granularity="global")
    with pytest.raises(ValueError, match="backend must be one of"):
        build(backend="gpu")


class Heaviest:
    """A selector of a user's own, that says no more than it must."""

    needs_gradients, needs_labels, redraws = True, False, False

    def choose(self, pool, fraction, seed):
        chosen = pool.gradients.squared_norms().topk(int(fraction * pool.n)).indices
        return Choice(acs.Coreset(chosen, torch.ones(len(chosen)), torch.zeros(len(chosen))))


def test_own_selector_needs_to_say_no_more_than_it_must():
    coreset = build(Heaviest())
    train(coreset, range(10), torch.optim.SGD(coreset.model.parameters(), 0.01))
    assert [h["epoch"] for h in coreset.history] == [4, 7]
    assert coreset.history[0]["seconds"]["total"] > 0
    assert coreset.history[0]["relative_gradient_error"] > 0
    assert (coreset.current.stats["filled"], coreset.current.stats["backend"]) == (0, "none")


def test_own_selector_is_checked():
    class Twice(Heaviest):
        def choose(self, pool, fraction, seed):
            return Choice(acs.Coreset(torch.tensor([3, 3]), torch.ones(2), torch.zeros(2)))

    with pytest.raises(RuntimeError, match="repeated indices"):
        build(Twice()).step(4)


def test_samplers_are_what_other_tools_look_for():
    coreset = build()
    assert isinstance(coreset.sampler, torch.utils.data.Sampler)
    assert isinstance(coreset.batch_sampler, torch.utils.data.BatchSampler)
    assert (coreset.batch_sampler.batch_size, coreset.batch_sampler.drop_last) == (16, False)


def test_ranks_of_batches_have_true_lengths():
    for rank in (0, 1):
        coreset = build(granularity="batch", fraction=0.9, rank=rank, world_size=2)
        coreset.step(4)
        assert len(coreset.sampler) == len(list(coreset.sampler))
