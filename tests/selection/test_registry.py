"""Selectors by name, and of one's own."""

import pytest

import acs_fast as acs
from acs_fast.selection import SELECTORS, build_selector


class Own:
    needs_gradients = False
    lasts = "epoch"

    def select(self, n, budget, gradients, labels, seed):
        raise NotImplementedError


def test_every_name_is_a_selector():
    for name in SELECTORS:
        selector = build_selector(name)
        assert build_selector(selector) is selector


def test_what_a_selector_of_one_s_own_lacks_is_named():
    class Silent(Own):
        lasts = "always"

    with pytest.raises(ValueError, match=r"Silent\.lasts must be one of .*epoch.*; got 'always'"):
        build_selector(Silent())
    silent = type("Silent", (), {"select": Own.select, "lasts": "run"})()
    with pytest.raises(TypeError, match="must have needs_gradients, see Selector; got Silent"):
        build_selector(silent)
    with pytest.raises(TypeError, match="or a Selector; got int"):
        build_selector(3)
    with pytest.raises(ValueError, match="selector must be one of"):
        build_selector("crag")
    assert isinstance(build_selector("craig"), acs.Craig)
