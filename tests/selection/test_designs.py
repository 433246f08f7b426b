"""Sampling designs: exact budgets, and estimates that are unbiased within what chance allows."""

import math

import pytest
import torch

import acs_fast as acs
from acs_fast.selection import SELECTORS, Craig, CraigStrata, Design, Glister, Importance, Pool, Random, SoftPruning
from acs_fast.selection.design import UNITS, one_of_each, proportional
from acs_fast.selection.scores import score_of
from tests.helpers import make_gradients

N, DRAWS = 120, 2000
LABELS = torch.arange(N) % 3


def pool_of(n=N, seed=0, dtype=torch.float64):
    g = make_gradients(n, dtype=dtype, seed=seed)
    random = torch.Generator().manual_seed(seed)
    return Pool(n, LABELS[:n], g, torch.rand(n, generator=random), torch.rand(n, generator=random))


UNBIASED = {
    "craig-strata": CraigStrata(),
    "craig-strata, global": CraigStrata("global"),
    "importance": Importance(),
    "importance, global": Importance("global"),
    "importance, hardly mixed": Importance("global", mix=0.05),
    "soft-loss": SoftPruning(),
    "soft-input, global": SoftPruning("global", score="input", ratio=0.8),
    "random": Random(),
    "random-stratified": Random(stratified=True),
}


@pytest.mark.parametrize("name", UNBIASED)
@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_mean_over_draws_is_the_full_gradient(name, fraction):
    """Every coordinate within 5 standard errors of the mean: chance exceeds that once in two million."""
    pool, chosen = pool_of(), UNBIASED[name]
    if hasattr(chosen, "prepare"):
        design = chosen.prepare(pool, fraction, 0)
        draws = [design.draw(s) for s in range(DRAWS)]
    else:
        draws = [chosen.choose(pool, fraction, s).coreset for s in range(DRAWS)]
    assert {len(c) for c in draws} == {int(fraction * N)}
    dense = pool.gradients.dense()
    sums = torch.stack([c.weights.double() @ dense[c.indices] for c in draws])
    allowed = 5 * sums.std(0) / math.sqrt(DRAWS) + 1e-5 * dense.abs().sum(0)
    assert bool(((sums.mean(0) - dense.sum(0)).abs() <= allowed).all())
    assert len(torch.cat([c.indices for c in draws]).unique()) == N


@pytest.mark.parametrize("name", UNBIASED)
def test_inclusion_frequencies_are_the_probabilities(name):
    chosen = UNBIASED[name]
    if not hasattr(chosen, "prepare"):
        pytest.skip("has no design")
    design = chosen.prepare(pool_of(), 0.25, 0)
    counts = torch.zeros(N, dtype=torch.float64)
    for seed in range(DRAWS):
        counts[design.draw(seed).indices] += 1
    p = design.probabilities
    assert bool(((counts / DRAWS - p).abs() <= 5 * (p * (1 - p) / DRAWS).sqrt() + 1e-9).all())


def test_certain_samples_are_always_in_and_budgets_are_exact():
    sizes = torch.tensor([100.0, 50.0, *[1.0] * 18])
    for k in range(1, 21):
        units = proportional(sizes, k)
        assert int(units.sum()) == k * UNITS
        design = Design.of(units)
        draws = [design.draw(s) for s in range(50)]
        assert {len(c) for c in draws} == {k}
        certain = (units == UNITS).nonzero().flatten().tolist()
        assert all(set(certain) <= set(c.indices.tolist()) for c in draws)
    assert proportional(sizes, 4)[:2].tolist() == [UNITS, UNITS]


def test_proportional_within_groups():
    groups = torch.tensor([0] * 30 + [7] * 10)
    units = proportional(torch.rand(40) + 0.01, 8, groups)
    assert [int(units[groups == c].sum()) for c in (0, 7)] == [6 * UNITS, 2 * UNITS]


def test_one_of_each_stratum():
    strata = torch.tensor([5, 0, 5, 5, 2, 0, 9])
    design = Design.of(one_of_each(strata), strata)
    for seed in range(100):
        drawn = design.draw(seed)
        assert sorted(strata[drawn.indices].tolist()) == [0, 2, 5, 9]
        assert float(drawn.weights.sum()) == pytest.approx(7, rel=1e-6)


def test_clusters_are_those_of_the_greedy():
    """Cluster sizes are facility location's weights, and every sample is with its nearest centre."""
    pool = pool_of()
    centres = acs.facility_location(pool.gradients, 0.2, groups=LABELS)
    design = CraigStrata().prepare(pool, 0.2, 0)
    sizes = torch.bincount(design.strata)
    assert sizes.tolist() == centres.weights.long().tolist()
    d = acs.pairwise_distances(pool.gradients)[:, centres.indices]
    d[LABELS[:, None] != LABELS[centres.indices]] = torch.inf
    torch.testing.assert_close(d.gather(1, design.strata[:, None])[:, 0], d.min(1).values)


def test_strata_of_identical_samples_stay_apart():
    g = acs.LastLayerGradients(torch.ones(10, 2), torch.ones(10, 3))
    design = CraigStrata("global").prepare(Pool(10, None, g), 0.4, 0)
    assert [len(design.draw(s)) for s in range(5)] == [4] * 5


def test_stratification_takes_out_the_variance_between_clusters():
    """20 tight clusters of 6: what is left is their width, a hundredth of the distance between them."""
    g = make_gradients(20, dtype=torch.float64)
    random = torch.Generator().manual_seed(0)
    features = g.features.repeat(6, 1, 1)
    features = features + 0.01 * torch.randn(features.shape, generator=random, dtype=torch.float64)
    pool = Pool(N, None, acs.LastLayerGradients(g.residuals.repeat(6, 1, 1), features))
    strata, uniform = (
        acs.gradient_variance(pool.gradients, [s.choose(pool, 20 / N, i).coreset for i in range(100)])
        for s in (CraigStrata("global"), Random())
    )
    assert strata < 0.01 * uniform


def test_gradient_variance_is_the_squared_error_of_a_fixed_choice():
    pool = pool_of()
    fixed = Craig().choose(pool, 0.25, 0).coreset
    expected = fixed.stats["relative_gradient_error"] ** 2
    assert acs.gradient_variance(pool.gradients, [fixed] * 3) == pytest.approx(expected, rel=1e-9)
    dense = pool.gradients.dense()
    error = fixed.weights.double() @ dense[fixed.indices] - dense.sum(0)
    assert expected == pytest.approx(float(error.square().sum() / dense.sum(0).square().sum()), rel=1e-6)
    with pytest.raises(ValueError, match="coresets must hold at least one draw"):
        acs.gradient_variance(pool.gradients, [])


def test_soft_pruning_at_its_own_budget_is_as_published():
    """All samples above the mean with weight 1, half of the others with weight 2."""
    losses = torch.tensor([0.0] * 60 + [1.0] * 60)
    pool = Pool(N, None, make_gradients(N), losses)
    drawn = SoftPruning("global").prepare(pool, 0.75, 0).draw(3)
    high = drawn.indices >= 60
    assert int(high.sum()) == 60
    assert drawn.weights[high].tolist() == [1.0] * 60
    assert drawn.weights[~high].tolist() == [2.0] * 30


def test_scores():
    pool = pool_of()
    torch.testing.assert_close(score_of(pool, "loss"), pool.losses.double())
    torch.testing.assert_close(score_of(pool, "input"), -pool.input_norms.double())
    torch.testing.assert_close(score_of(pool, "el2n"), pool.gradients.residuals[:, 0].double().square().sum(1).sqrt())
    with pytest.raises(ValueError, match="pool must hold input_norms for the score 'input'; got none"):
        score_of(Pool(3), "input")


@pytest.mark.parametrize(("name", "best"), [("top-loss", "losses"), ("low-input", "input_norms")])
def test_top_scores_of_every_class(name, best):
    from acs_fast.selection import selector

    pool = pool_of()
    picks = selector(name).choose(pool, 0.1, 0).coreset.indices.tolist()
    values = getattr(pool, best) * (1 if name == "top-loss" else -1)
    for c in range(3):
        members = (c == LABELS).nonzero().flatten()
        expected = members[values[members].argsort(descending=True)[:4]]
        assert sorted(expected.tolist()) == sorted(i for i in picks if LABELS[i] == c)


def test_glister_lowers_the_loss_more_than_chance():
    """A step along its picks, against steps along random ones, at the loss computed from scratch."""
    random = torch.Generator().manual_seed(0)
    h = torch.randn(N, 6, generator=random, dtype=torch.float64)
    y = (h @ torch.randn(6, 3, generator=random, dtype=torch.float64)).argmax(1)
    w = 0.1 * torch.randn(3, 7, generator=random, dtype=torch.float64)
    inputs = torch.cat([h, torch.ones(N, 1, dtype=torch.float64)], 1)
    g = acs.LastLayerGradients((inputs @ w.T).softmax(1) - torch.nn.functional.one_hot(y, 3), h)
    pool = Pool(N, y, g)

    def loss_after(indices):
        return float(torch.nn.functional.cross_entropy(inputs @ (w - g[indices].total() / len(indices)).T, y))

    chosen = loss_after(Glister("global", refreshes=12).choose(pool, 0.1, 0).coreset.indices)
    assert chosen < min(loss_after(torch.randperm(N, generator=random)[:12]) for _ in range(200))


def test_glister_refuses_other_losses():
    with pytest.raises(ValueError, match="glister needs the gradients of one cross-entropy"):
        Glister("global").choose(Pool(20, LABELS[:20], make_gradients(20, passes=2)), 0.5, 0)


@pytest.mark.parametrize("name", SELECTORS)
def test_every_selector_has_the_exact_budget(name):
    from acs_fast.selection import selector

    pool = pool_of()
    logits = torch.randn(N, 4, generator=torch.Generator().manual_seed(1))
    residuals = logits.softmax(1) - torch.nn.functional.one_hot(LABELS, 4)
    g = acs.LastLayerGradients(residuals, pool.gradients.features[:, 0].float())
    pool = Pool(N, LABELS, g, pool.losses, pool.input_norms)
    for fraction in (0.05, 0.33, 1.0):
        chosen = selector(name).choose(pool, fraction, 5).coreset
        assert len(chosen) == max(1, int(fraction * N))
        again = selector(name).choose(pool, fraction, 5).coreset
        assert torch.equal(chosen.indices, again.indices)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Importance(mix=0.0), "mix must be finite and in"),
        (lambda: SoftPruning(ratio=1.0), "ratio must be below 1"),
        (lambda: SoftPruning(score="margin"), "score must be one of"),
        (lambda: CraigStrata("batch"), "granularity must be one of 'class', 'global'"),
        (lambda: Glister(eta=0.0), "eta must be finite and in"),
        (lambda: Importance().prepare(Pool(3), 0.5, 0), "pool must hold gradients for Importance; got none"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_broken_design_is_refused():
    with pytest.raises(RuntimeError, match="a sampling design must have probabilities in"):
        Design.of(torch.tensor([UNITS, UNITS // 3]))
