"""Options as fields of a dataclass."""

from dataclasses import dataclass, fields

import numpy as np
import pytest

from acs_fast._util.options import check_kinds, option


@dataclass
class Settings:
    steps: int = option(3, "Steps of the attack.", group="attack", metavar="N")
    rate: float = option(0.1, "Learning rate.", flag="lr")
    name: str | None = option(None, "Of the run.", choices=["a", "b"], shown="a date")
    resume: bool = option(False, "Go on.")


def test_a_field_holds_its_option():
    steps, rate, name, _ = (field.metadata for field in fields(Settings))
    assert Settings().steps == 3
    assert (steps["help"], steps["group"], steps["metavar"]) == ("Steps of the attack.", "attack", "N")
    assert (rate["flag"], rate["group"]) == ("lr", "options")
    assert (name["choices"], name["shown"]) == (("a", "b"), "a date")


@pytest.mark.parametrize(
    "given", [{}, {"rate": 1}, {"rate": np.float32(0.5)}, {"steps": np.int64(4)}, {"name": "a"}, {"resume": True}]
)
def test_values_of_their_kind_pass(given):
    check_kinds(Settings(**given))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 1.5}, "steps must be int; got float"), ({"steps": True}, "steps must be int; got bool"),
        ({"rate": "0.1"}, "rate must be float; got str"), ({"name": 3}, "name must be str or None; got int"),
        ({"resume": 1}, "resume must be bool; got int"),
    ],
)  # fmt: skip
def test_others_are_refused(given, message):
    with pytest.raises(TypeError, match=message):
        check_kinds(Settings(**given))
