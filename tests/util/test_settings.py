"""Descriptions and states of a run's parts."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from acs_fast._util import settings


@dataclass
class Named:
    size: int = 3


class Plain:
    pass


class Speaking:
    def __repr__(self):
        return "Speaking(7)"


class Inheriting(Speaking):
    pass


def halved(x):
    return x / 2


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (halved, f"{__name__}.halved"), (Plain(), f"{__name__}.Plain"), (Named(), "Named(size=3)"),
        (Inheriting(), "Speaking(7)"), (nn.ReLU(), "ReLU()"), (None, "None"),
    ],
)  # fmt: skip
def test_a_description_holds_no_address(part, expected):
    assert settings.described(part) == expected


def test_a_digest_differs_by_a_bit_and_not_by_the_process():
    values = [torch.arange(6.0).reshape(2, 3), torch.tensor([1, 2])]
    own = settings.digest(values)
    assert own == settings.digest([values[0].T.contiguous().T, values[1]])
    assert own != settings.digest([values[0].nextafter(torch.tensor(9.0)), values[1]])
    code = (
        "import torch; from acs_fast._util.settings import digest; "
        "print(digest([torch.arange(6.0), torch.tensor([1, 2])]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == own


def test_settings_that_differ_are_named():
    settings.check_same_settings({"k": 1}, {"k": 1, "more": 2})
    with pytest.raises(ValueError, match=r"these differ: k \(here 1, there 2\), d \(here 'a', there None\)"):
        settings.check_same_settings({"k": 1, "d": "a", "same": 0}, {"k": 2, "same": 0})


@pytest.mark.parametrize("state", [{"epoch": 1}, [1], None])
def test_what_a_state_lacks_is_named(state):
    settings.check_complete({"epoch": 1, "history": []}, {"epoch"})
    with pytest.raises(ValueError, match=r"it lacks .*history"):
        settings.check_complete(state, {"epoch", "history"})


@pytest.mark.parametrize("error", [AttributeError, KeyError, RuntimeError, TypeError])
def test_a_state_of_another_kind_is_a_value_error(error):
    with (
        pytest.raises(ValueError, match=r"state must be what state_dict\(\) returned; .*odd"),
        settings.reading_state(),
    ):
        raise error("odd")
    with pytest.raises(ZeroDivisionError), settings.reading_state():
        raise ZeroDivisionError


def test_parts_without_a_state_have_an_empty_one():
    assert settings.state_of(Plain()) == {}
    settings.load_state(Plain(), {})
    layer = nn.Linear(2, 1)
    settings.load_state(layer, {"weight": torch.ones(1, 2), "bias": torch.zeros(1)})
    assert torch.equal(settings.state_of(layer)["weight"], torch.ones(1, 2))
