"""Selections that cost less, and what they are counted as: sub-pools, warm attacks, training passes, allocation."""

import io
import itertools

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from acs_fast.schedule import Schedule
from tests.helpers import ConvNet, images

N = 60


class CountingPGD(acs.PGD):
    """Counts the images that it attacks."""

    def perturb(self, model, x, y, **options):
        self._attacked = getattr(self, "_attacked", 0) + len(x)
        return super().perturb(model, x, y, **options)


def build(selector="craig", objective=None, **options):
    torch.manual_seed(7)
    x, y = images(N)
    objective = acs.PGD(0.1, 0.05, 2, seed=1) if objective is None else objective
    settings = {"fraction": 0.3, "epochs": 12, "period": 2, "warm_start": 0.4, "batch_size": 16, **options}
    return acs.AdversarialCoreset(ConvNet(), TensorDataset(x, y), objective, selector, **settings)


def train(coreset, epochs, optimizer, cheap=None):
    """Samples visited and samples attacked strongly, by epoch."""
    loader = DataLoader(coreset.dataset, batch_size=16, sampler=coreset.sampler)
    visited, strong = {}, {}
    for epoch in epochs:
        coreset.step(epoch)
        coreset.model.train()
        visited[epoch], strong[epoch] = [], []
        for x, y, index in loader:
            torch.manual_seed(epoch)  # of dropout
            mask = coreset.strong(index)
            x_adv = acs.perturb_allocated(coreset.model, x, y, mask, coreset.objective, cheap or coreset.objective)
            coreset.remember(index, x, x_adv)
            with coreset.observe(index, y):
                losses = coreset.objective.per_sample_loss(coreset.model, x, x_adv, y)
            loss = acs.weighted_mean(losses, coreset.weights(index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            visited[epoch] += index.tolist()
            strong[epoch] += index[mask].tolist()
    return visited, strong


def sgd(coreset):
    return torch.optim.SGD(coreset.model.parameters(), 0.05, momentum=0.9)


OPTIONS = {
    "craig-strata": {"selector": "craig-strata"},
    "importance": {"selector": "importance"},
    "soft-loss": {"selector": "soft-loss"},
    "soft-input": {"selector": "soft-input"},
    "low-input": {"selector": "low-input"},
    "glister": {"selector": "glister"},
    "sub-pool": {"pool": 2.0},
    "strata of a sub-pool": {"selector": "craig-strata", "pool": 2.0},
    "warm": {"warm_perturbations": True},
    "training passes": {"refresh": "train"},
    "importance from training passes": {"selector": "importance", "refresh": "train"},
    "allocation": {"allocate": True},
    "everything": {"selector": "importance", "pool": 2.0, "warm_perturbations": True, "allocate": True},
}


@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("stop", [1, 4, 6])
def test_resumed_run_ends_with_the_same_bits(case, stop):
    def fresh():
        from_training = OPTIONS[case].get("refresh") == "train"
        selecting = {} if from_training else {"selection_objective": acs.PGD(0.1, 0.1, 1, seed=2)}
        coreset = build(**OPTIONS[case], **selecting)
        return coreset, sgd(coreset)

    whole, optimizer = fresh()
    expected = train(whole, whole.epochs, optimizer)
    first, optimizer = fresh()
    train(first, first.epochs[:stop], optimizer)
    file = io.BytesIO()
    torch.save([first.state_dict(), first.model.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    second, optimizer = fresh()
    for thing, state in zip((second, second.model, optimizer), states, strict=True):
        thing.load_state_dict(state)
    found = train(second, second.epochs[stop:], optimizer)
    for one, two in zip(expected, found, strict=True):
        assert two == {e: one[e] for e in second.epochs[stop:]}
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("case", OPTIONS)
def test_budgets_are_exact_and_weights_average_to_one(case):
    coreset = build(**OPTIONS[case])
    visited, _ = train(coreset, coreset.epochs, sgd(coreset))
    for epoch, seen in visited.items():
        on_coreset = coreset.schedule.kind(epoch) == "coreset" and not coreset.allocate
        assert len(seen) == len(set(seen)) == (18 if on_coreset else N)
    assert all(h["size"] == 18 for h in coreset.history)
    if coreset.selector.needs_gradients and not OPTIONS[case].get("refresh"):
        assert coreset.history[0]["gradient_variance"] > 0


def test_sub_pool_attacks_no_more_than_it_says():
    objective = CountingPGD(0.1, 0.05, 2, seed=1)
    coreset = build(objective=objective, pool=2.0)
    pools = []
    for epoch in (4, 6, 8):
        objective._attacked = 0
        current = coreset.step(epoch)
        assert objective._attacked == 36
        assert (len(current), current.stats["pool"]) == (18, 36)
        assert float(current.weights.sum()) == pytest.approx(N, rel=1e-6)
        pools.append(frozenset(current.indices.tolist()))
    assert len(set(pools)) == 3
    labels = coreset.dataset.dataset.tensors[1]
    for c in range(5):  # each class counts as in the full data
        own = labels[coreset.current.indices] == c
        assert float(coreset.current.weights[own].sum()) == pytest.approx(int((labels == c).sum()), rel=1e-6)


def test_sub_pool_of_everything_changes_nothing():
    one, two = build().step(4), build(pool=100.0).step(4)
    assert torch.equal(one.indices, two.indices)
    assert torch.equal(one.weights, two.weights)


def test_selection_objective_makes_the_attacks_of_the_selection():
    training, selecting = CountingPGD(0.1, 0.05, 5, seed=1), CountingPGD(0.1, 0.1, 1, seed=1)
    build(objective=training, selection_objective=selecting).step(4)
    assert (getattr(training, "_attacked", 0), selecting._attacked) == (0, N)


@pytest.mark.parametrize("objective", [acs.PGD(0.1, 0.02, 1, seed=0), acs.TRADES(6.0, 0.1, 0.02, 1, seed=0)])
def test_warm_attacks_go_on_where_the_last_one_ended(objective):
    """With one short step an attack gets further from where it was than anew, and never leaves the ball."""
    coreset = build(objective=objective, warm_perturbations=True, period=1)
    x, y = coreset.dataset.dataset.tensors
    model = coreset.model.eval()
    reached = []
    for epoch in range(4, 12):
        coreset.step(epoch)
        delta = coreset._perturbations.read(torch.arange(N), torch.full_like(x, torch.nan))
        assert float(delta.abs().max()) <= 0.1 + 1e-6
        assert float((x + delta).min()) >= -1e-6
        with torch.no_grad():
            reached.append(float(objective.per_sample_loss(model, x, x + delta, y).mean()))
    assert reached[-1] > reached[0]
    assert all(b > a - 1e-4 for a, b in itertools.pairwise(reached))


def test_training_attacks_are_remembered():
    coreset = build(warm_perturbations=True)
    x = coreset.dataset.dataset.tensors[0]
    moved = (x[:5] + 0.05).clamp(0, 1)
    coreset.remember(torch.arange(5), x[:5], moved)
    kept = coreset._perturbations.read(torch.arange(6), torch.full_like(x[:6], torch.nan))
    torch.testing.assert_close(kept[:5], moved - x[:5])
    assert bool(kept[5].isnan().all())


def test_selection_from_training_passes_attacks_nothing():
    """Every attack of the run is one of training, and the full-data epochs count as what they visit."""
    objective = CountingPGD(0.1, 0.05, 2, seed=1)
    coreset = build(objective=objective, refresh="train")
    visited, _ = train(coreset, coreset.epochs, sgd(coreset))
    assert objective._attacked == sum(map(len, visited.values()))
    assert len([h for h in coreset.history if "attack" in h["seconds"]]) == 0
    kinds = [coreset.schedule.kind(e) for e in coreset.epochs]
    assert kinds == ["full", "coreset", "coreset", "refresh", "coreset", "coreset", "coreset"]
    assert [h["epoch"] for h in coreset.history] == [4, 9]
    assert sum(map(len, visited.values())) == 2 * N + 5 * 18


def test_observed_factors_are_those_of_the_training_pass():
    coreset = build(objective=acs.TRADES(6.0, 0.1, 0.05, 1, seed=0), refresh="train")
    coreset.step(0)
    model, (x, y) = coreset.model, coreset.dataset.dataset.tensors
    index = torch.randperm(N)
    x_adv = (x + 0.05).clamp(0, 1)
    model.eval()  # so that the two computations see the same
    with coreset.observe(index, y[index]):
        coreset.objective.per_sample_loss(model, x[index], x_adv[index], y[index]).mean().backward()
    taken = coreset._factors.taken(torch.arange(N), y)
    losses = coreset.objective.per_sample_loss(model, x, x_adv, y)
    torch.testing.assert_close(taken.losses, losses.detach())
    head = model.head
    for i in (0, 17, 59):
        expected = torch.autograd.grad(losses[i], (head.weight, head.bias), retain_graph=True)
        dense = torch.cat([expected[0].flatten(), expected[1]])
        torch.testing.assert_close(taken.gradients[i].dense()[0], dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("index", "labels"), [(3, 2), (2, 3), (3, 3)])
def test_observed_samples_must_be_those_of_the_pass(index, labels):
    coreset = build(refresh="train")
    x = coreset.dataset.dataset.tensors[0]
    with (
        pytest.raises(ValueError, match=f"the 2 samples of the forward pass inside observe; got {index} and {labels}"),
        coreset.observe(torch.arange(index), torch.zeros(labels)),
    ):
        coreset.model(x[:2])


def test_watching_needs_a_model_whose_passes_can_be_seen():
    x, y = images(N)
    for model in (torch.compile(ConvNet()), torch.nn.DataParallel(ConvNet())):
        with pytest.raises(TypeError, match=r"torch.compile and DataParallel hide; .* use refresh='attack'"):
            acs.AdversarialCoreset(model, TensorDataset(x, y), acs.PGD(0.1, 0.05, 1), epochs=4, refresh="train")


def test_finding_the_head_leaves_the_random_state_alone():
    class Noisy(TensorDataset):
        def __getitem__(self, i):
            image, label = super().__getitem__(i)
            return (image + 0.01 * torch.rand_like(image)).clamp(0, 1), label

    coreset = acs.AdversarialCoreset(ConvNet(), Noisy(*images(N)), acs.PGD(0.1, 0.05, 1), epochs=4, refresh="train")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    coreset._factors._found_head()
    assert torch.equal(torch.rand(4), expected)


def test_draws_are_diagnosed_once_a_period():
    """The error of each epoch's coreset is one product; the variance takes many draws, so only where one is due."""
    coreset = build("importance", refresh="train")
    train(coreset, coreset.epochs, sgd(coreset))
    due = [h["epoch"] for h in coreset.history if "gradient_variance" in h]
    assert due == [4, 9]
    assert len(coreset.history) > len(due)
    assert all(h["relative_gradient_error"] is not None for h in coreset.history)


def test_unobserved_samples_are_said():
    with pytest.raises(ValueError, match=r"60 of 60 samples were not observed: run the forward pass .* inside `with"):
        build(refresh="train").step(4)
    coreset = build(refresh="train")
    with pytest.raises(ValueError, match="must run inside observe"), coreset.observe(torch.arange(2), torch.zeros(2)):
        pass


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.3, 0.5])
@pytest.mark.parametrize(
    "options", [{"cool_down": 0.2}, {"full_refresh": True}, {"cool_down": 0.2, "full_refresh": True}]
)
def test_schedules_with_options_cost_the_same(fraction, options):
    """Within one full epoch for each rounding: warm start, cool-down, and every refresh."""
    plain, other = (Schedule(60, 4, 0.3, fraction, **o) for o in ({}, options))
    refreshes = other.kinds.count("refresh")
    slack = 1.0 + refreshes * abs(1.0 - fraction * round(1.0 / fraction))
    assert abs(other.cost - plain.cost) <= slack
    assert other.cost == pytest.approx(sum(
        {"coreset": fraction, "skipped": 0}.get(other.kind(e), 1) for e in range(60)))  # fmt: skip
    assert len(other.kinds) == 60
    assert (refreshes > 0) == bool(options.get("full_refresh"))


def test_refresh_schedule_by_hand():
    schedule = Schedule(24, 3, 0.3, 0.25, full_refresh=True)
    expected = ["full"] * 2 + ["skipped"] * 5 + ["coreset"] * 3 + (["refresh"] + ["skipped"] * 3 + ["coreset"] * 3) * 2
    assert list(schedule.kinds) == expected
    assert [e for e in range(24) if schedule.selection_due(e)] == [7, 14, 21]
    assert [schedule.last_selection(e) for e in (6, 7, 13, 14, 23)] == [-1, 7, 7, 14, 21]


def test_allocation_sees_all_data_and_attacks_the_coreset():
    strong, cheap = CountingPGD(0.1, 0.05, 5, seed=1), CountingPGD(0.1, 0.1, 1, seed=1)
    coreset = build("random", objective=strong, allocate=True)
    visited, attacked = train(coreset, [4], sgd(coreset), cheap)
    assert sorted(visited[4]) == list(range(N))
    assert sorted(attacked[4]) == sorted(coreset.current.indices.tolist())
    assert (strong._attacked, cheap._attacked) == (18, N - 18)
    assert coreset.weights(torch.arange(N)).tolist() == [1.0] * N
    visited, attacked = train(coreset, [0, 3], sgd(coreset), cheap)  # the warm start
    assert [sorted(v) for v in visited.values()] == [list(range(N))] * 2
    assert [sorted(a) for a in attacked.values()] == [list(range(N))] * 2
    assert coreset.epochs == list(range(12))
    plain = build()
    plain.step(0)
    assert bool(plain.strong(torch.arange(N)).all())


@pytest.mark.parametrize("world_size", [1, 2])
def test_batches_get_one_kind_of_attack(world_size):
    """18 of 60 samples in mini-batches of 4: four of the coreset and ten of the rest, then what is left of both."""
    kinds, seen = [], []
    for rank in range(world_size):
        coreset = build("random", allocate=True, batch_size=4, rank=rank, world_size=world_size)
        coreset.step(4)
        batches = list(coreset.batch_sampler)
        assert len(batches) == len(coreset.batch_sampler)
        order = [i for batch in batches for i in batch]
        assert order == list(coreset.sampler)
        assert len(coreset.sampler) == N // world_size
        masks = [coreset.strong(torch.tensor(b)) for b in batches]
        whole = 4 // world_size + (N - 18) // 4 // world_size
        assert all(len(set(m.tolist())) == 1 for m in masks[:whole])
        kinds.append([bool(m[0]) for m in masks[:whole]])
        seen += order
    assert sorted(seen) == list(range(N))
    assert all(k == kinds[0] for k in kinds)  # all ranks have the strong attack at the same time
    assert sum(kinds[0]) == 18 // world_size // 4
    assert kinds[0] != sorted(kinds[0])
    assert kinds[0] != sorted(kinds[0], reverse=True)


@pytest.mark.parametrize("selector", ["craig", "craig-strata", "importance"])
def test_allocation_from_training_passes_needs_no_epoch_of_its_own(selector):
    """Every epoch shows all samples: one warm epoch is enough, and a selection attacks nothing."""
    objective = CountingPGD(0.1, 0.05, 2, seed=1)
    cheap = CountingPGD(0.1, 0.1, 1, seed=1)
    coreset = build(selector, objective, refresh="train", allocate=True, warm_start=0.0)
    visited, attacked = train(coreset, range(5), sgd(coreset), cheap)
    assert coreset.epochs == list(range(12))
    assert [sorted(v) for v in visited.values()] == [list(range(N))] * 5
    assert [len(a) for a in attacked.values()] == [N, 18, 18, 18, 18]
    assert (objective._attacked, cheap._attacked) == (N + 4 * 18, 4 * 42)
    redrawn = {tuple(sorted(attacked[e])) for e in range(1, 5)}
    assert len(redrawn) == (2 if selector == "craig" else 4)  # of epochs 1 and 3


def test_allocated_attacks_are_those_of_their_objectives():
    model, (x, y) = ConvNet().eval(), images(8)
    mask = torch.tensor([True, False] * 4)
    options = {"random_start": False}
    strong, cheap = acs.PGD(0.1, 0.05, 3, **options), acs.PGD(0.1, 0.1, 1, **options)
    x_adv = acs.perturb_allocated(model, x, y, mask, strong, cheap, index=torch.arange(8))
    torch.testing.assert_close(x_adv[mask], strong.perturb(model, x, y)[mask])
    torch.testing.assert_close(x_adv[~mask], cheap.perturb(model, x, y)[~mask])
    with pytest.raises(ValueError, match=r"strong must be bool of shape \[8\]; got torch.int64"):
        acs.perturb_allocated(model, x, y, torch.arange(8), strong, cheap)


def test_input_norms_are_the_gradients_at_clean_images():
    coreset = build("low-input")
    coreset.step(4)
    model, (x, y) = coreset.model.eval(), coreset.dataset.dataset.tensors
    leaf = x.clone().requires_grad_()
    torch.nn.functional.cross_entropy(model(leaf), y, reduction="sum").backward()
    norms = leaf.grad.flatten(1).norm(dim=1)
    for c in range(5):
        members = (y == c).nonzero().flatten()
        own = coreset.current.indices[y[coreset.current.indices] == c]
        assert sorted(own.tolist()) == sorted(members[norms[members].argsort()[: len(own)]].tolist())
    assert coreset.step(6) is None  # chosen once


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pool": 0.5}, ValueError, r"pool must be finite and in \[1, inf\)"),
        ({"refresh": "never"}, ValueError, "refresh must be one of 'attack', 'train'"),
        ({"refresh": "train", "selector": "soft-input"}, ValueError, "needs gradients at the input"),
        ({"refresh": "train", "world_size": 2}, ValueError, "need world_size 1"),
        ({"refresh": "train", "warm_perturbations": True}, ValueError, "selection attacks nothing"),
        ({"refresh": "train", "selection_objective": acs.Vanilla()}, ValueError, "selection attacks nothing"),
        (
            {"warm_perturbations": True, "objective": acs.Vanilla()},
            TypeError,
            "selection objective whose attack has a start",
        ),
        ({"allocate": True, "granularity": "batch"}, ValueError, "allocate needs granularity"),
        ({"cool_down": 0.9}, ValueError, "warm_start and cool_down must leave room"),
    ],
)
def test_what_excludes_what(options, error, message):
    with pytest.raises(error, match=message):
        build(**options)
