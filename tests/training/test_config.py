"""What the settings of a run mean together."""

from dataclasses import replace

import pytest

from acs_fast.training import METHODS, RunConfig
from acs_fast.training.config import CONTROLS


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ({}, False),  # of the default selector, which needs none
        ({"method": "craig"}, True),
        ({"method": "craig", "compile": True}, False),
        ({"method": "craig", "objective": "pgd", "selection_steps": 1}, False),
        ({"method": "craig", "objective": "fgsm-gradalign"}, False),
        ({"method": "craig", "granularity": "batch"}, True),
        ({"method": "random"}, False),
        ({"method": "full"}, False),
        ({"method": "craig", "gradients": "attack"}, False),
    ],
)
def test_selections_come_from_training_passes_where_they_can(settings, passes):
    assert RunConfig(**settings).takes_training_passes is passes


@pytest.mark.parametrize(
    ("settings", "selective"),
    [
        ({}, True),
        ({"objective": "pgd"}, False),
        ({"objective": "pgd", "train_on": "all"}, True),
        ({"train_on": "coreset"}, False),
        ({"granularity": "batch"}, False),
        ({"method": "full"}, False),
    ],
)
def test_what_the_coreset_decides(settings, selective):
    config = RunConfig(**settings)
    assert config.is_selective is selective
    assert ("selective" in config.schedule.kinds) is selective


def test_passes_of_every_sample_come_before_a_selection_from_them():
    craig = RunConfig(method="craig", warm_start=0.0)
    assert craig.schedule.kinds[:2] == ("full", "selective")
    assert replace(craig, gradients="attack").schedule.kinds[0] == "selective"
    assert replace(craig, train_on="coreset").schedule.kinds[0] == "full"
    assert replace(craig, method="random").schedule.kinds[0] == "selective"


def test_a_shorter_schedule_costs_the_same():
    """20 epochs with PGD-9, 10 of them for a quarter: 12.5 times the data at 10 passes, 7.5 times at 2."""
    config = RunConfig(objective="pgd", steps=9, train_on="all", epochs=20, warm_start=0.5, fraction=0.25)
    assert config.schedule.kinds == ("full",) * 10 + ("selective",) * 10
    assert config.with_method("full-short", 0).length == round(12.5 + 7.5 * 0.2)
    rests = RunConfig(objective="atta", train_on="all", epochs=20, warm_start=0.5, fraction=0.2)
    assert rests.with_method("full-short", 0).length == round(12 + 8 * 0.5)  # with ATTA two passes against one
    plain = RunConfig(objective="pgd", method="craig", gradients="attack", epochs=30, fraction=0.3, warm_start=0.3)
    short = plain.with_method("full-short", 1)
    assert short.length == 3 + 21 * 0.3
    assert short.schedule.kinds == ("full",) * 10
    whole = replace(short, warm_start=0.0)
    assert whole.schedule.kinds == ("full",) * 9  # 30 times 0.3, which is a little more in floating point
    assert whole.batches_of(range(9), 9 * 80) == 9 * 80
    assert replace(short, epochs=1, fraction=0.01).batches_of(range(1), 80) == 1


@pytest.mark.parametrize("method", METHODS)
def test_an_epoch_holds_all_its_mini_batches_within_the_length_of_the_run(method):
    config = RunConfig(objective="pgd", train_on="coreset", method=method, epochs=30, fraction=0.3, warm_start=0.3)
    number = len(config.schedule.kinds)
    batches = [config.batches_of(range(e, e + 1), 80) for e in range(number)]
    assert batches == [80] * 9 + [24] if method == "full-short" else [80] * 30
    assert config.batches_of(range(number), 80 * number) == sum(batches)


def test_comparisons_hold_the_method_and_the_controls():
    assert set(METHODS) >= set(CONTROLS)
    assert RunConfig(method="clusters").comparison == ["full", "full-short", "clusters", *CONTROLS[2:]]
    assert RunConfig(method="craig").comparison == list(CONTROLS)


def test_eps_is_that_of_the_data_where_none_is_given():
    assert RunConfig().resolved(0.3).eps == 0.3
    assert RunConfig(eps=0.1).resolved(0.3).eps == 0.1
    steps = RunConfig(objective="pgd", eps=0.1, steps=5).build_objective().attack
    assert (steps.eps, steps.alpha, steps.steps) == (0.1, 0.05, 5)
    one = RunConfig(objective="pgd", eps=0.1, steps=5).build_objective(steps=1).attack
    assert (one.alpha, one.steps) == (0.125, 1)


def test_the_selective_attack_stands_beside_methods_that_train_on_less():
    config = RunConfig(objective="pgd", method="craig", gradients="attack")
    assert config.comparison[:4] == ["full", "full-short", "selective", "craig"]
    selective = config.with_method("selective", 0)
    assert selective.is_selective
    assert selective.selector == "round-robin"
    assert not selective.takes_training_passes
    assert replace(selective, train_on="coreset").is_selective  # the method says so
    for other in ({"objective": "atta"}, {"objective": "fgsm-gradalign"}, {"objective": "pgd", "train_on": "all"}):
        assert "selective" not in RunConfig(**other).comparison


@pytest.mark.parametrize(("given", "trained", "expected"), [
    (None, 1_200, 200), (None, 6_800, 340), (None, 50_000, 1000), (30, 50_000, 30),
])  # fmt: skip
def test_validation_costs_little_beside_training(given, trained, expected):
    assert RunConfig(validation_limit=given).validated(trained) == expected
