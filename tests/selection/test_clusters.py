"""Members of few clusters: shares, weights, redrawing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import acs_fast as acs
from acs_fast.selection import nearest_selected
from acs_fast.selection.clusters import shares
from tests.helpers import make_gradients
from tests.loops import build, sgd, train


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=20), st.floats(0, 1), st.data()
)  # fmt: skip
def test_shares_are_exact_and_possible(sizes, power, data):
    sizes = torch.tensor(sizes)
    budget = data.draw(st.integers(1, int(sizes.sum())))
    drawn = shares(sizes, budget, power)
    assert int(drawn.sum()) == budget
    assert bool((drawn <= sizes).all())
    assert bool((drawn >= (1 if budget >= len(sizes) else 0)).all())


def test_shares_by_hand():
    sizes = torch.tensor([2, 10, 100])
    assert shares(sizes, 30, 0.0).tolist() == [2, 10, 18]
    assert shares(sizes, 6, 0.0).tolist() == [2, 2, 2]
    assert shares(sizes, 56, 1.0).tolist() == [1, 5, 50]
    assert shares(sizes, 112, 0.5).tolist() == [2, 10, 100]


def two_kinds(n=200, rare=10):
    """Gradients of two tight groups, one of them rare."""
    features = torch.cat([torch.randn(n - rare, 4) * 0.01 + 1.0, torch.randn(rare, 4) * 0.01 - 1.0])
    return acs.LastLayerGradients(torch.ones(n, 1), features)


def test_every_cluster_has_its_share_however_rare():
    chosen = acs.Clusters(count=2).select(200, 20, two_kinds(), torch.zeros(200, dtype=torch.int64), 0)
    assert int((chosen.indices >= 190).sum()) == 10
    assert chosen.weights.unique().tolist() == [10.0]


def test_size_weights_estimate_the_full_gradient():
    g = make_gradients(80, dtype=torch.float64)
    labels = torch.arange(80) % 3
    selector = acs.Clusters(count=12, weights="size")
    draws = [selector.select(80, 24, g, labels, seed) for seed in range(400)]
    assert all(float(d.weights.sum()) == pytest.approx(80, rel=1e-5) for d in draws)
    errors = torch.stack([g[d.indices].total(d.weights) - g.total() for d in draws]).flatten(1)
    single = float(errors.norm(dim=1).mean())
    assert float(errors.mean(0).norm()) < 2 * single / 20  # the mean of 400 draws without a bias
    assert draws[0].stats["relative_gradient_error"] == pytest.approx(
        acs.gradient_error(g, draws[0].indices, draws[0].weights)
    )


def test_clusters_are_those_of_the_medoids_of_the_class():
    g, labels = make_gradients(60), torch.arange(60) % 2
    medoids = acs.facility_location(g, 6, groups=labels)
    cluster = nearest_selected(g, medoids.indices, labels)
    chosen = acs.Clusters(count=None, weights="size").select(60, 6, g, labels, 1)
    assert sorted(cluster[chosen.indices].tolist()) == list(range(6))
    torch.testing.assert_close(chosen.weights, torch.bincount(cluster)[cluster[chosen.indices]].float())


def test_members_change_every_epoch_and_clusters_every_period():
    coreset = build(acs.Clusters(count=10))
    attacks = []
    visited = train(coreset, coreset.epochs, sgd(coreset))
    attacks = [h["epoch"] for h in coreset.history if "attack" in h["seconds"]]
    assert attacks == [4, 6, 8, 10]
    subsets = [frozenset(visited[e]) for e in range(4, 12)]
    assert len(set(subsets)) == len(subsets)
    assert {len(s) for s in subsets} == {18}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be at least 1"),
        ({"power": 2.0}, "power must be finite"),
        ({"weights": "none"}, "weights must be one of"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        acs.Clusters(**options)
