"""The loop: what each epoch trains on, weights, workers, resumption, frameworks' calls."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import acs_fast as acs
from tests.helpers import ConvNet, images
from tests.loops import N, build, sgd, train

SELECTORS = ("craig", "gradmatch", "round-robin", "clusters", "random", "random-fixed", "random-stratified")
REDRAWN = ("clusters", "round-robin", "random", "random-stratified")
TEN = {"epochs": 10, "period": 3, "warm_start": 0.4}


@pytest.mark.parametrize("selector", SELECTORS)
def test_epochs_train_on_what_the_schedule_says(selector):
    coreset = build(acs.Clusters(count=8) if selector == "clusters" else selector, **TEN)
    seen = train(coreset, range(10), sgd(coreset))
    assert coreset.epochs == [0, *range(4, 10)]
    assert sorted(seen[0]) == list(range(N))
    subsets = [frozenset(seen[e]) for e in range(4, 10)]
    assert {len(s) for s in subsets} == {18}
    changes = [a != b for a, b in pairwise(subsets)]
    fixed = [False] * 5 if selector == "random-fixed" else [False, False, True, False, False]
    assert changes == ([True] * 5 if selector in REDRAWN else fixed)
    assert [h["epoch"] for h in coreset.history] == (
        list(range(4, 10)) if selector in REDRAWN else [4] if selector == "random-fixed" else [4, 7]
    )


def test_no_epoch_is_empty():
    """Neither before the first step, nor where a loop over all numbers visits a skipped epoch."""
    coreset = build(**TEN)
    loader = DataLoader(coreset.dataset, batch_size=16, sampler=coreset.sampler)
    assert len(loader) == 4
    for epoch in range(10):
        coreset.step(epoch)
        assert len(loader) == len(list(loader)) > 0
    late = build(epochs=4, warm_start=0.0)
    assert len(late.sampler) == 18
    assert late.current is None
    assert sorted(late.sampler) == sorted(late.current.indices.tolist())  # iterating begins the first epoch


def test_total_steps_are_those_of_the_loop():
    coreset = build(**TEN)
    loader = DataLoader(coreset.dataset, batch_size=16, sampler=coreset.sampler)
    steps = 0
    for epoch in coreset.epochs:
        coreset.step(epoch)
        steps += len(list(loader))
    assert coreset.total_steps(16) == steps == 4 + 6 * 2


def test_set_epoch_counts_the_epochs_that_train_and_never_goes_back():
    coreset = build(**TEN)
    one, other = build(**TEN), coreset.sampler
    orders = []
    for number, epoch in enumerate(coreset.epochs):
        other.set_epoch(number)
        one.step(epoch)
        orders.append(list(other))
        assert orders[-1] == list(one.sampler)
    assert [h["epoch"] for h in coreset.history] == [4, 7]
    other.set_epoch(0)
    assert list(other) == orders[-1]
    with pytest.raises(ValueError, match="epoch must be below the number of epochs that train, 7; got 7"):
        other.set_epoch(7)


def test_weights_average_to_one_and_belong_to_the_batch():
    coreset = build(**TEN)
    coreset.step(4)
    current = coreset.current
    weights = coreset.weights(current.indices)
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(weights / weights[0], current.weights / current.weights[0])
    assert torch.equal(coreset.weights(current.indices.numpy()), weights)
    outside = next(i for i in range(N) if i not in set(current.indices.tolist()))
    with pytest.raises(ValueError, match=f"sample {outside} is not part of epoch 4"):
        coreset.weights(torch.tensor([outside]))
    assert coreset.contains(torch.tensor([outside, int(current.indices[0])])).tolist() == [False, True]
    coreset.step(0)
    assert coreset.weights(torch.arange(N)).tolist() == [1.0] * N
    assert bool(coreset.contains(torch.arange(N)).all())


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


def test_persistent_workers_see_new_coresets_and_weights():
    runs = []
    for workers in (0, 2):
        coreset = build(epochs=8)
        seen = train(coreset, coreset.epochs, sgd(coreset), workers=workers)
        runs.append((seen, [p.detach().clone() for p in coreset.model.parameters()]))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(a, b) for a, b in zip(runs[0][1], runs[1][1], strict=True))


@pytest.mark.parametrize("selector", [acs.Craig, acs.GradMatch])
@pytest.mark.parametrize("per_class", [True, False])
def test_granularities_of_samples(selector, per_class):
    coreset = build(selector(per_class=per_class), fraction=0.5)
    coreset.step(4)
    flat = [i for batch in coreset.batch_sampler(16) for i in batch]
    assert sorted(flat) == sorted(coreset.current.indices.tolist())
    assert len(flat) == 30
    if per_class:
        labels = coreset.dataset.dataset.tensors[1]
        counts = torch.bincount(labels[coreset.current.indices], minlength=5)
        assert bool(((counts - torch.bincount(labels) / 2).abs() <= 1).all())


def test_selectors_are_objects():
    for chosen in (acs.Craig(metric="sqeuclidean", per_class=False), acs.GradMatch(ridge=0.1, fill="none")):
        coreset = build(chosen)
        assert 0 < len(coreset.step(4)) <= 18
    equal = build(acs.Craig(weights="equal"))
    plain = build()
    assert torch.equal(equal.step(4).indices, plain.step(4).indices)
    assert equal.current.weights.unique().tolist() == pytest.approx([N / 18])
    assert equal.current.stats["relative_gradient_error"] != plain.current.stats["relative_gradient_error"]
    assert equal.current.stats["effective_size"] == pytest.approx(18)
    assert plain.current.stats["effective_size"] < 18
    with pytest.raises(TypeError, match="selector must be one of craig"):
        build(3)
    with pytest.raises(ValueError, match="selector must be one of"):
        build("best")


def test_statistics():
    stats = build().step(4).stats
    assert {"attack", "factors", "total"} <= stats["seconds"].keys()
    assert 0 < stats["relative_gradient_error"] < 10
    assert build("random").step(4).stats["relative_gradient_error"] is None


def test_on_select_hears_of_every_selection():
    heard = []
    coreset = build(on_select=lambda chosen, epoch: heard.append((len(chosen), epoch)), **TEN)
    for epoch in coreset.epochs:
        coreset.step(epoch)
    assert heard == [(18, 4), (18, 7)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0.0}, "fraction must be finite"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": None}, "epochs must be given, or a schedule; got neither"),
        ({"schedule": acs.Schedule.every(3)}, "epochs must be those of the schedule, 3; got 12"),
        ({"fraction": 0.01, "warm_start": 1.0}, "schedule must train in at least one of its 12 epochs"),
        ({"rank": 1}, "rank must be below num_replicas, 1; got 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"labels": [0, 1]}, "labels must be 60 integers"),
        ({"labels": np.zeros(N)}, "labels must be 60 integers"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_labels_are_given_or_read():
    x, y = images(N)
    model, items = ConvNet(), [{"image": a, "label": int(b)} for a, b in zip(x, y, strict=True)]
    for labels in (None, y, y.numpy(), y.tolist()):
        coreset = acs.AdversarialCoreset(model, items, acs.Vanilla(), "random-stratified", epochs=2, labels=labels)
        chosen = coreset.step(1).indices
        assert torch.bincount(y[chosen], minlength=5).tolist() == torch.bincount(y[chosen]).tolist()
    with pytest.raises(ValueError, match="budget must be at least the number of groups"):
        build("random-stratified", fraction=0.05).step(5)


def test_epoch_outside_the_schedule():
    with pytest.raises(ValueError, match="epoch must be below epochs, 12, counted from 0; got 12"):
        build().step(12)


def test_skipped_epochs_are_told_once(caplog):
    for rank, told in ((0, 1), (1, 0)):
        coreset = build("random", num_replicas=2, rank=rank)
        caplog.clear()
        visited = {}
        for epoch in range(12):
            coreset.step(epoch)
            coreset.step(epoch)
            visited[epoch] = len(list(coreset.sampler))
        assert len(caplog.records) == told
        assert set(visited.values()) == {30, 9}  # skipped ones hold something too
    build("random").step(3)
    assert "the schedule skips epoch 3, so it holds 60 random samples only" in caplog.text
    caplog.clear()
    train(coreset := build("random"), coreset.epochs, sgd(coreset))
    assert not caplog.records


def test_a_loop_that_counts_from_one_is_told_at_once(caplog):
    coreset = build("random")
    coreset.step(0)
    coreset.step(1)
    resumed = build("random")
    resumed.load_state_dict(coreset.state_dict())
    resumed.step(2)
    build("random", fraction=0.05, warm_start=0.1).step(1)  # epoch 0 trains nothing
    assert "counts from 1" not in caplog.text
    build("random").step(1)
    assert "if the loop counts from 1, call step(epoch - 1)" in caplog.text
