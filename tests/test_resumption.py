"""Runs that are resumed end with the bits of one that was not; a state of another run is refused."""

import io

import pytest
import torch

import acs_fast as acs
from tests.loops import build, sgd, train

SELECTORS = ("craig", "gradmatch", "round-robin", "random", "random-fixed", "random-stratified")
CASES = {
    **{name: {"selector": name} for name in SELECTORS},
    "clusters": {"selector": acs.Clusters(count=8)},
    "one step": {"source": lambda m, d, _: acs.AttackPass(m, d, acs.PGD(0.1, 0.1, 1, seed=2))},
    "batches": {"selector": acs.PerBatch(acs.Craig(), batch_size=6)},
    "training passes": {"source": lambda m, _, o: acs.TrainingPasses(m, o)},
    "clusters of training passes": {
        "selector": acs.Clusters(count=8), "source": lambda m, _, o: acs.TrainingPasses(m, o),
    },
    "selective": {"schedule": acs.Schedule.every(12, period=2, warm_start=0.4)},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stop", [1, 4, 6])
def test_resumed_run_ends_with_the_same_bits(case, stop):
    def fresh():
        coreset = build(**CASES[case])
        return coreset, sgd(coreset), getattr(coreset.gradients, "observe", None)

    whole, optimizer, observe = fresh()
    expected = train(whole, whole.epochs, optimizer, observe)
    first, optimizer, observe = fresh()
    train(first, first.epochs[:stop], optimizer, observe)
    file = io.BytesIO()
    torch.save([first.state_dict(), first.model.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    second, optimizer, observe = fresh()
    for part, state in zip((second, second.model, optimizer), states, strict=True):
        part.load_state_dict(state)
    assert train(second, second.epochs[stop:], optimizer, observe) == {e: expected[e] for e in second.epochs[stop:]}
    for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [h["epoch"] for h in second.history] == [h["epoch"] for h in whole.history]


def test_state_of_another_run_is_refused():
    state = build().state_dict()
    with pytest.raises(ValueError, match=r"these differ: fraction \(here 0.5, there 0.3\)"):
        build(fraction=0.5, schedule=build().schedule).load_state_dict(state)
    with pytest.raises(ValueError, match="these differ: selector"):
        build("gradmatch").load_state_dict(state)
    with pytest.raises(ValueError, match="these differ: kinds"):
        build(warm_start=0.5).load_state_dict(state)


def test_state_is_a_snapshot_and_is_checked():
    coreset = build("random")
    coreset.step(4)
    state = coreset.state_dict()
    coreset.step(5)
    assert len(state["history"]) == 1
    with pytest.raises(ValueError, match=r"state must be what state_dict\(\) returned; it lacks config, coreset"):
        build().load_state_dict(None)
    other = build("random")
    other.objective.attack.steps = 9
    with pytest.raises(ValueError, match="these differ: objective"):
        other.load_state_dict(state)
