"""Given vectors in the place of gradients."""

import numpy as np
import pytest
import torch

import acs_fast as acs
from tests.helpers import images
from tests.loops import CountingPGD, N, build, sgd, train

X, Y = images(N)


def vectors(*_):
    return acs.Vectors(X, Y)


@pytest.mark.parametrize("given", [X, X.numpy(), X.flatten(1), X.double()])
def test_a_selection_is_that_of_the_vectors(given):
    expected = acs.facility_location(X.flatten(1).to(torch.as_tensor(given).dtype), 18, groups=Y)
    objective = CountingPGD(0.1, 0.05, 2, seed=1)
    coreset = build("craig", objective, lambda *_: acs.Vectors(given, np.asarray(Y)))
    chosen = coreset.step(4)
    assert chosen.indices.tolist() == expected.indices.tolist()
    assert torch.equal(chosen.weights, expected.weights)
    assert objective.attacked == 0


def test_clusters_of_vectors_are_found_once():
    coreset = build(acs.Clusters(count=8), source=vectors)
    for epoch in coreset.epochs:
        coreset.step(epoch)
    seconds = [h["seconds"] for h in coreset.history]
    assert len(seconds) > 3
    assert "greedy" in seconds[0] or "distances" in seconds[0]
    assert all(set(s) == {"total"} for s in seconds[1:])


def test_a_resumed_run_draws_the_same_and_its_state_is_small():
    def made():
        return build(acs.Clusters(count=8), source=vectors)

    whole = made()
    visited = train(whole, whole.epochs, sgd(whole))
    first = made()
    train(first, first.epochs[:6], sgd(first))
    state = first.state_dict()
    assert state["selection"]["taken"] is None
    second = made()
    second.load_state_dict(state)
    assert train(second, second.epochs[6:], sgd(second)) == {e: visited[e] for e in whole.epochs[6:]}


def test_a_state_of_other_vectors_is_refused():
    first = build(source=vectors)
    for other in (acs.Vectors(1.0 - X, Y), acs.Vectors(X, Y.flip(0))):
        with pytest.raises(ValueError, match="gradients"):
            build(source=lambda *_, other=other: other).load_state_dict(first.state_dict())


@pytest.mark.parametrize(
    ("x", "labels", "error", "message"),
    [
        (X[:5], Y[:4], ValueError, "as many labels"),
        (torch.rand(5), Y[:5], ValueError, r"\[N, \.\.\.\]"),
        (X[:0], Y[:0], ValueError, "vector for each sample"),
        (torch.full((3, 2), torch.nan), Y[:3], ValueError, "finite"),
        (torch.ones(3, 2, dtype=torch.int64), Y[:3], TypeError, "floating"),
        (X[:3], Y[:3].float(), TypeError, "integers"),
        ("pixels", Y[:3], TypeError, "x must be"),
    ],
)
def test_what_is_no_vector_is_named(x, labels, error, message):
    with pytest.raises(error, match=message):
        acs.Vectors(x, labels)


def test_vectors_must_be_those_of_all_samples():
    coreset = build(source=lambda *_: acs.Vectors(X[:50], Y[:50]))
    with pytest.raises(ValueError, match="all 60 samples; got 50"):
        coreset.step(4)
