"""Selectors of the experiments: controls, oracles, and what a selector looks at."""

import torch

from acs_fast import LastLayerGradients
from acs_fast.gradients import Extraction
from benchmarks.experiments import pools
from benchmarks.experiments.arms import (
    Aligned,
    ByLoss,
    ClassQuotas,
    RandomClusters,
    SmallLoss,
    Stale,
    Trusted,
    TrustedMatch,
    Unflipped,
    View,
    capped,
)


def gradients(n=60, classes=3):
    """Residuals of cross-entropy, of which some classes are wrong more often."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % classes
    logits = torch.randn(n, classes, generator=generator) + 2.0 * torch.nn.functional.one_hot(y) * (y[:, None] > 0)
    residuals = logits.softmax(1) - torch.nn.functional.one_hot(y)
    return LastLayerGradients(residuals, torch.randn(n, 5, generator=generator)), y


def test_quotas_are_exact_and_follow_the_wanted_ones():
    sizes = torch.tensor([10, 10, 10])
    assert capped(torch.tensor([1.0, 1.0, 1.0]), sizes, 9).tolist() == [3, 3, 3]
    assert capped(torch.tensor([9.0, 1.0, 1.0]), sizes, 16).tolist() == [10, 3, 3]
    assert capped(torch.tensor([1.0, 2.0, 3.0]), sizes, 30).tolist() == [10, 10, 10]


def test_class_quotas_draw_more_of_the_worst_class():
    g, y = gradients()
    drawn = ClassQuotas(1.0).select(60, 30, g, y, 0)
    counts = y[drawn.indices].bincount(minlength=3)
    assert int(counts.sum()) == 30
    assert counts.argmax() == 0


def test_by_loss_prefers_large_losses():
    g, y = gradients()
    loss = -(1.0 + g.residuals.flatten(1).gather(1, y[:, None])[:, 0]).log()
    top = ByLoss(float("inf")).select(60, 12, g, y, 0)
    assert float(loss[top.indices].min()) >= float(loss.sort(descending=True).values[12])
    drawn = [ByLoss(1.0).select(60, 12, g, y, seed).indices for seed in range(20)]
    assert torch.stack([loss[i].mean() for i in drawn]).mean() > loss.mean()


def test_random_clusters_have_the_sizes_of_the_clusters_within_each_class():
    g, y = gradients()
    selector = RandomClusters(count=9)
    right, _ = super(RandomClusters, selector)._clusters(g, 9, y)
    mixed, _ = selector._clusters(g, 9, y)
    assert not torch.equal(right, mixed)
    for label in range(3):
        assert torch.equal(right[y == label].bincount(minlength=9), mixed[y == label].bincount(minlength=9))


def test_small_losses_of_every_class():
    g, y = gradients()
    own = 1.0 + g.residuals.flatten(1).gather(1, y[:, None])[:, 0]
    picks = SmallLoss().select(60, 30, g, y, 0).indices
    for label in range(3):
        chosen, rest = torch.isin(torch.arange(60), picks) & (y == label), (y == label)
        assert int(chosen.sum()) == 10
        assert float(own[chosen].min()) >= float(own[rest & ~chosen].max())


def test_what_checked_samples_say():
    g, y = gradients()
    assert Trusted().select(60, 6, None, y, 0).indices.tolist() == list(range(6))
    matched = TrustedMatch(6).select(60, 30, g, y, 0)
    target = torch.stack([20 / 2 * g[(y[:6] == c).nonzero().flatten()].dense().sum(0) for c in range(3)]).sum(0)
    found = (matched.weights[:, None] * g[matched.indices].dense()).sum(0)
    assert float((found - target).norm()) < float((g.dense().sum(0) - target).norm())
    aligned = Aligned(6).select(60, 30, g, y, 0).indices
    scores = g.dense() @ g.dense()[:6].mean(0)
    assert float(scores[aligned].mean()) > float(scores.mean())


def test_an_oracle_draws_no_flipped_label():
    pool = pools.draw("digits", 200, 50, 0, 0.5, 0, flipped=0.4, trusted=20)
    seen = View(lambda seed: None, "kinds", pool.train, pool.train_groups)(0)
    picks = Unflipped().select(200, 60, seen.gradients, pool.train.labels, 1).indices
    assert len(picks.unique()) == 60
    assert torch.equal(pool.train.labels[picks], pool.train_groups[picks])


def test_stale_samples_come_back():
    g, y = gradients()
    selector = Stale()
    seen = torch.cat([selector.select(60, 20, g, y, seed).indices for seed in range(12)]).unique()
    assert len(seen) > 50


def test_what_a_selector_may_look_at():
    g, y = gradients(20, 2)
    images = pools.draw("digits", 20, 10, 0, 0.5, 0).train

    def seen(name):
        return View(lambda seed: Extraction(g, y), name, images, y)(0).gradients.dense()

    assert torch.equal(seen("kinds"), torch.nn.functional.one_hot(y).float())
    assert torch.equal(seen("pixels"), images.x.flatten(1))
    assert torch.equal(seen("features"), g.features.flatten(1))
    assert torch.equal(seen("residuals"), g.residuals.flatten(1))
