"""Two attacks in one batch: each part is that of its own objective."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from tests.helpers import ConvNet, images


class Members:
    """A coreset of given sample numbers."""

    def __init__(self, numbers):
        self.numbers = torch.tensor(numbers)

    def contains(self, index):
        return torch.isin(index, self.numbers)


class Counting(acs.PGD):
    """Counts its calls and the images in them."""

    calls, attacked = 0, 0

    def perturb(self, model, x, y, **options):
        self.calls += 1
        self.attacked += len(x)
        return super().perturb(model, x, y, **options)


INDEX = torch.tensor([5, 0, 11, 3, 2, 7, 1, 9])


def test_parts_are_those_of_their_objectives(model, batch):
    x, y = batch
    objective = acs.SelectiveAttack(Counting(0.1, 0.05, 3, seed=1), Counting(0.1, 0.1, 1, seed=2), Members([0, 3, 9]))
    x_adv = objective.perturb(model, x, y, index=INDEX)
    inside = torch.tensor([False, True, False, True, False, False, False, True])
    assert torch.equal(x_adv[inside], acs.PGD(0.1, 0.05, 3, seed=1).perturb(model, x[inside], y[inside]))
    assert torch.equal(x_adv[~inside], acs.PGD(0.1, 0.1, 1, seed=2).perturb(model, x[~inside], y[~inside]))
    assert (objective.attack.strong.attacked, objective.attack.cheap.attacked) == (3, 5)


@pytest.mark.parametrize("members", [[], list(range(12))])
def test_an_empty_part_is_not_attacked(model, batch, members):
    strong, cheap = Counting(0.1, 0.05, 3, seed=1), Counting(0.1, 0.1, 1, seed=2)
    x_adv = acs.SelectiveAttack(strong, cheap, Members(members)).perturb(model, *batch, index=INDEX)
    assert (strong.calls, cheap.calls) == ((1, 0) if members else (0, 1))
    alone = acs.PGD(0.1, 0.05, 3, seed=1) if members else acs.PGD(0.1, 0.1, 1, seed=2)
    assert torch.equal(x_adv, alone.perturb(model, *batch))


def test_loss_and_residuals_are_those_of_the_strong_objective(model, batch):
    x, y = batch
    strong = acs.TRADES(6.0, 0.1, 0.05, 3, seed=1, label_smoothing=0.1)
    objective = acs.SelectiveAttack(strong, acs.FGSM(0.1, seed=2), Members([0]))
    assert objective.loss is strong.loss
    assert objective.closed_form
    found, expected = (o.per_sample_loss(model, x, x + 0.1, y) for o in (objective, strong))
    assert torch.equal(found, expected)
    aligned = acs.SelectiveAttack(acs.GradAlignFGSM(0.1), acs.FGSM(0.1), Members([0]))
    assert not aligned.closed_form


def test_starts_and_numbers_go_to_their_parts(model, batch):
    x, y = batch
    atta = acs.ATTA(0.1, 0.03, seed=3)
    objective = acs.SelectiveAttack(atta, atta.resting(), Members([0, 3, 9]))
    first = objective.perturb(model, x, y, index=INDEX)  # a first visit is an attack for everybody
    second = objective.perturb(model, x, y, index=INDEX)
    inside = Members([0, 3, 9]).contains(INDEX)
    torch.testing.assert_close(second[~inside], first[~inside])
    expected = acs.PGD(0.1, 0.03, 1).perturb(model, x[inside], y[inside], start=first[inside])
    torch.testing.assert_close(second[inside], expected, rtol=0, atol=1e-12)
    pgd = acs.SelectiveAttack(acs.PGD(0.1, 0.03, 2), acs.PGD(0.1, 0.03, 1), Members([0, 3, 9]))
    found = pgd.perturb(model, x, y, start=x, index=INDEX)
    for mask, steps in ((inside, 2), (~inside, 1)):
        plain = acs.PGD(0.1, 0.03, steps, random_start=False)
        assert torch.equal(found[mask], plain.perturb(model, x[mask], y[mask]))


def test_state_and_seed_are_those_of_both(model, batch):
    def make(seed):
        return acs.SelectiveAttack(acs.PGD(0.1, 0.05, 2, seed=seed), acs.ATTA(0.1, seed=seed), Members([0, 3, 9]))

    first, second = make(1), make(2)
    first.perturb(model, *batch, index=INDEX)
    second.load_state_dict(first.state_dict())
    results = [o.perturb(model, *batch, index=INDEX) for o in (first, second)]
    assert torch.equal(*results)
    seeded = []
    for objective in (make(1), make(2)):
        with objective.seeded(7):
            seeded.append(objective.perturb(model, *batch, index=INDEX))
    assert torch.equal(*seeded)


def test_foreign_attacks_take_part(model, batch):
    x, y = batch
    objective = acs.SelectiveAttack(acs.PGD(0.1, 0.05, 2, seed=1), lambda x, y: x, Members([0]))
    x_adv = objective.perturb(model, x, y, index=INDEX)
    assert torch.equal(x_adv[INDEX != 0], x[INDEX != 0])


def test_bad_answers_are_named(model, batch):
    objective = acs.SelectiveAttack(acs.FGSM(0.1), acs.FGSM(0.1), Members([0]))
    with pytest.raises(ValueError, match="index must give the sample numbers"):
        objective.perturb(model, *batch)
    objective = acs.SelectiveAttack(acs.FGSM(0.1), acs.FGSM(0.1), type("Odd", (), {"contains": lambda s, i: i})())
    with pytest.raises(ValueError, match=r"coreset.contains must return bool of shape \[8\]; got torch.int64"):
        objective.perturb(model, *batch, index=INDEX)
    with pytest.raises(TypeError, match="objective must have perturb"):
        acs.SelectiveAttack(3, acs.FGSM(0.1), Members([0]))


def test_a_loss_that_needs_its_own_start_says_so(model, batch):
    x, y = batch
    objective = acs.SelectiveAttack(acs.FGSMPGI(0.1), acs.FGSM(0.1), Members([0]))
    with pytest.raises(ValueError, match="x_adv must be what perturb returned"):
        objective.per_sample_loss(model, x, objective.perturb(model, x, y, index=INDEX), y)


def test_a_whole_run_attacks_its_coreset_strongly():
    torch.manual_seed(0)
    model, (x, y) = ConvNet(), images(40)
    strong, cheap = Counting(0.1, 0.05, 2, seed=1), Counting(0.1, 0.1, 1, seed=1)
    coreset = acs.AdversarialCoreset(
        model, TensorDataset(x, y), strong, "random", 0.25, epochs=3, schedule=acs.Schedule.every(3, 1), seed=0
    )
    objective = acs.SelectiveAttack(strong, cheap, coreset)
    loader = DataLoader(coreset.dataset, batch_size=8, sampler=coreset.sampler)
    for epoch in coreset.epochs:
        coreset.step(epoch)
        strong.attacked = cheap.attacked = 0
        for images_, labels, index in loader:
            objective.perturb(model, images_, labels, index=index)
        kind = coreset.schedule.kind(epoch)
        assert (strong.attacked, cheap.attacked) == ((10, 30) if kind == "selective" else (40, 0))
    assert "selective" in {coreset.schedule.kind(epoch) for epoch in coreset.epochs}
