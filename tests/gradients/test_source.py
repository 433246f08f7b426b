"""Gradient sources of a user's own."""

import pytest
import torch

import acs_fast as acs
from tests.helpers import images
from tests.loops import N, build, sgd, train

X, Y = images(N)


def extraction(seed):
    g = torch.randn(N, 6, generator=torch.Generator().manual_seed(seed))
    return acs.Extraction(acs.LastLayerGradients.from_vectors(g), Y)


class Own(acs.GradientSource):
    """Defines what it must."""

    def __call__(self, seed):
        return extraction(seed)


class Counting:
    """A callable that is no GradientSource and remembers something."""

    def __init__(self):
        self.calls = 0

    def __call__(self, seed):
        self.calls += 1
        return extraction(self.calls)

    def state_dict(self):
        return {"calls": self.calls}

    def load_state_dict(self, state):
        self.calls = state["calls"]


@pytest.mark.parametrize("source", [extraction, Own(), Own().__call__, lambda seed: extraction(seed)])
@pytest.mark.parametrize("selector", ["craig", "clusters"])
def test_a_source_needs_to_say_no_more_than_it_must(source, selector):
    expected = build(selector, source=lambda *_: Own())
    coreset = build(selector, source=lambda *_: source)
    for epoch in expected.epochs:
        one, two = expected.step(epoch), coreset.step(epoch)
        assert (one is None) == (two is None)
        assert one is None or torch.equal(one.indices, two.indices)


def test_what_a_callable_remembers_is_saved_with_the_state():
    whole = build(source=lambda *_: Counting())
    visited = train(whole, whole.epochs, sgd(whole))
    first = build(source=lambda *_: Counting())
    train(first, first.epochs[:6], sgd(first))
    second = build(source=lambda *_: Counting())
    second.load_state_dict(first.state_dict())
    assert train(second, second.epochs[6:], sgd(second)) == {e: visited[e] for e in whole.epochs[6:]}


def test_the_state_of_another_source_is_refused():
    first = build(source=lambda *_: Own())
    with pytest.raises(ValueError, match="gradients"):
        build(source=lambda *_: extraction).load_state_dict(first.state_dict())


def test_what_is_no_source_is_named():
    with pytest.raises(TypeError, match=r"gradients must be a GradientSource, or callable .*; got Tensor"):
        build(source=lambda *_: X)
    with pytest.raises(TypeError, match=r"Extraction\(gradients, labels\); got LastLayerGradients"):
        build(source=lambda *_: lambda seed: extraction(seed).gradients).step(4)
    with pytest.raises(NotImplementedError, match=r"GradientSource must define __call__\(seed\)"):
        build(source=lambda *_: acs.GradientSource()).step(4)
    with pytest.raises(ValueError, match="all 60 samples; got 50"):
        build(source=lambda *_: acs.Vectors(X[:50], Y[:50])).step(4)
