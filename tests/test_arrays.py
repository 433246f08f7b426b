"""NumPy arrays wherever the public functions take tensors: the answers of tensors, and refusals by name."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import acs_fast as acs
from tests.helpers import ConvNet, images, make_gradients

N = 24
X, Y = images(N)
QUICK = {"eps": 0.1, "steps": 2, "restarts": 1, "curve": [], "autoattack": False}
OBJECTIVES = {
    "vanilla": lambda: acs.Vanilla(),
    "pgd": lambda: acs.PGD(0.1, 0.05, 2, seed=0),
    "trades": lambda: acs.TRADES(6.0, 0.1, 0.05, 2, seed=0),
    "atta": lambda: acs.ATTA(0.1, seed=0),
    "fgsm-pgi": lambda: acs.FGSMPGI(0.1, seed=0),
    "grad-align": lambda: acs.GradAlignFGSM(0.1, seed=0),
    "perceptual": lambda: acs.PerceptualAT(0.5, 2, seed=0),
    "warm-up": lambda: acs.EpsWarmup(acs.PGD(0.1, 0.05, 2, seed=0), steps=3),
    "from elsewhere": lambda: acs.WithAttack(lambda x, y: (1 - x).numpy().astype(np.float64)),
}


def as_arrays(x, y, index):
    """As NumPy computes: float64 images, labels and numbers of the smallest integers."""
    return x.double().numpy(), y.numpy().astype(np.int16), index.numpy().astype(np.uint8)


def arrays(samples):
    return as_arrays(*(torch.stack([torch.as_tensor(s[i]) for s in samples]) for i in range(3)))


def network():
    torch.manual_seed(7)
    return ConvNet()


def trained(objective, collate, selective=False):
    """Weights after a loop over two epochs, coresets of gradients that the training showed."""
    model, objective = network(), objective()
    passes = acs.TrainingPasses(model, objective)
    coreset = acs.AdversarialCoreset(
        model, TensorDataset(X, Y), objective, "craig", 0.5, gradients=passes,
        schedule=acs.Schedule(("full", "selective" if selective else "coreset"), frozenset({1})),
    )  # fmt: skip
    loader = DataLoader(coreset.dataset, batch_size=8, sampler=coreset.sampler, collate_fn=collate)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    attack = acs.SelectiveAttack(objective, objective.resting(), coreset) if selective else objective
    for epoch in coreset.epochs:
        coreset.step(epoch)
        for x, y, index in loader:
            torch.manual_seed(epoch)  # of dropout
            x_adv = attack.perturb(model, x, y, index=index)
            with passes.observe(index, y):
                losses = objective.per_sample_loss(model, x, x_adv, y)
            acs.weighted_mean(losses, coreset.weights(index).numpy()).backward()
            optimizer.step()
            optimizer.zero_grad()
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("selective", [False, True])
def test_loop_over_a_loader_of_arrays(selective):
    objective = OBJECTIVES["atta"]
    assert torch.equal(trained(objective, arrays, selective), trained(objective, None, selective))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives(name):
    index = torch.arange(N)
    found = []
    for x, y, i in ((X, Y, index), as_arrays(X, Y, index)):
        model, objective = network().eval(), OBJECTIVES[name]()
        x_adv = objective.perturb(model, x, y, index=i)
        found.append((x_adv, objective.per_sample_loss(model, x, x_adv, y)))
    for by_tensors, by_arrays in zip(*found, strict=True):
        assert torch.equal(by_tensors, by_arrays)


def test_evaluation():
    model, groups = network(), torch.arange(N) % 3
    by_tensors = acs.evaluate(model, [(X, Y)], groups=groups, **QUICK)
    for x, y in ((X.double().numpy(), Y.numpy().astype(np.uint8)), (X.double(), Y.tolist())):
        by_arrays = acs.evaluate(model, [{"image": x, "label": y}], groups=groups.numpy(), **QUICK)
        assert {**by_arrays, "seconds": 0} == {**by_tensors, "seconds": 0}


def test_selections_by_a_selector_of_arrays():
    class Every:
        needs_gradients, lasts = False, "run"

        def select(self, n, budget, gradients, labels, seed):
            return acs.Coreset(np.arange(budget, dtype=np.int32), np.full(budget, 2.0), np.zeros(budget))

    coreset = acs.AdversarialCoreset(network(), TensorDataset(X, Y), acs.Vanilla(), Every(), epochs=2, warm_start=0.0)
    coreset.step(0)
    assert coreset.weights(np.arange(4, dtype=np.uint8)).tolist() == [1.0] * 4  # numbers, and no mask
    assert coreset.contains([0, N - 1]).tolist() == [True, False]


WORDS, BYTES = np.array(["a", "b"]), (255 * X).to(torch.uint8).numpy()


@pytest.mark.parametrize("objects", [WORDS, WORDS.astype(object), WORDS.astype("S1")])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("x", lambda v: acs.evaluate(network(), [(v, Y)], eps=0.1)),
        ("y", lambda v: acs.evaluate(network(), [(X, v)], eps=0.1)),
        ("groups", lambda v: acs.evaluate(network(), [(X, Y)], groups=v, **QUICK)),
        ("x", lambda v: acs.last_layer_gradients(network(), [(v, Y)], acs.Vanilla())),
        ("y", lambda v: acs.PGD(0.1, 0.1, 1).perturb(network(), X, v)),
        ("x_adv", lambda v: acs.PGD(0.1, 0.1, 1).per_sample_loss(network(), X, v, Y)),
        ("weights", lambda v: acs.weighted_mean(torch.ones(2), v)),
        ("groups", lambda v: acs.facility_location(torch.rand(2, 3), 2, groups=v)),
        ("target", lambda v: acs.gradient_matching(make_gradients(4), 2, target=v)),
        ("indices", lambda v: acs.gradient_error(make_gradients(4), v, torch.ones(2))),
        ("labels", lambda v: acs.AdversarialCoreset(network(), TensorDataset(X[:2], Y[:2]), acs.Vanilla(), epochs=1,
                                                    labels=v)),
        ("index", lambda v: acs.AdversarialCoreset(network(), TensorDataset(X, Y), acs.Vanilla(), epochs=1).weights(v)),
        ("gains", lambda v: acs.Coreset(np.arange(2), np.ones(2), v)),
    ],
)  # fmt: skip
def test_arrays_of_no_numbers_are_named(objects, name, call):
    with pytest.raises(TypeError, match=f"{name} must have a dtype that torch has too; got an array of"):
        call(objects)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: acs.evaluate(network(), [(x, Y)], eps=0.1),
        lambda x: acs.last_layer_gradients(network(), [(x, Y)], acs.PGD(0.1, 0.1, 1)),
        lambda x: acs.PGD(0.1, 0.1, 1).perturb(network(), x, Y),
    ],
)
def test_bytes_are_no_pixels(call):
    with pytest.raises(TypeError, match=r"x must be .*got torch\.uint8: divide bytes by 255"):
        call(BYTES)


def test_sample_numbers_are_whole():
    coreset = acs.AdversarialCoreset(network(), TensorDataset(X, Y), acs.Vanilla(), "random", epochs=1)
    for index in (np.ones(2), [True, False], 0.5):
        with pytest.raises(TypeError, match=r"index must hold integers; got torch\."):
            coreset.weights(index)
