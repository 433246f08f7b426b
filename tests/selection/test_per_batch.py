"""Mini-batches selected whole."""

import pytest
import torch

import acs_fast as acs
from acs_fast.selection import batch_gradients
from tests.helpers import make_gradients
from tests.loops import build


@pytest.mark.parametrize("selector", [acs.Craig(), acs.GradMatch(), acs.Random("period")])
def test_batches_are_selected_whole_and_stay_together(selector):
    coreset = build(acs.PerBatch(selector, batch_size=16), fraction=0.5)
    coreset.step(4)
    batches = list(coreset.batch_sampler(16))
    assert len(batches) == len(coreset.batch_sampler(16)) == 2  # half of 4 mini-batches
    for batch in batches:
        assert len(set(coreset.weights(torch.tensor(batch)).tolist())) == 1
    coreset.step(5)
    assert sorted(map(tuple, coreset.batch_sampler(16))) == sorted(map(tuple, batches))
    assert len(coreset.sampler) == len(list(coreset.sampler))


@pytest.mark.parametrize(("classes", "width"), [(3, 4), (40, 60)])
def test_batch_gradients_are_the_means(classes, width):
    """Both as dense vectors (first case) and as factors with more passes (second)."""
    g = make_gradients(23, classes, width, 2, torch.float64)
    batches = list(torch.randperm(23).split(5))
    means = batch_gradients(g, batches)
    expected = torch.stack([g[b].dense().sum(0) / 5 for b in batches])
    torch.testing.assert_close(means.gram(), expected @ expected.T)
    assert (means.residuals.shape[-1] == 1) == (classes == 3)


def test_ranks_of_batches_have_true_lengths():
    for rank in (0, 1):
        coreset = build(acs.PerBatch(acs.Craig(), 16), fraction=0.9, rank=rank, num_replicas=2)
        coreset.step(4)
        assert len(coreset.sampler) == len(list(coreset.sampler))
