"""Random numbers that resume, and those of others."""

import random

import numpy as np
import pytest
import torch

from acs_fast._util.randomness import derived_generator, derived_seed, preserved_random_state


def drawn():
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


@pytest.mark.parametrize("error", [None, KeyError])
def test_everybody_elses_random_numbers_go_on_as_before(error):
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    expected = drawn()
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    try:
        with preserved_random_state():
            drawn()
            torch.manual_seed(3)
            if error is not None:
                raise error
    except KeyError:
        pass
    assert drawn() == expected


def test_a_derived_seed_depends_on_every_key_and_their_order():
    seeds = {
        derived_seed(*keys) for keys in [(), (1,), ("1",), (1, 2), (2, 1), (12,), ("epoch", 1, 2), ("epoch", 1, 3)]
    }
    assert len(seeds) == 8
    assert all(0 <= seed < 2**56 for seed in seeds)
    assert derived_seed("epoch", 1) == 55497498926968016  # in every process, on every machine, of every version
    assert torch.equal(
        torch.rand(3, generator=derived_generator("a", 1)), torch.rand(3, generator=derived_generator("a", 1))
    )
