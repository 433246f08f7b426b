"""Seconds by stage."""

import time

import pytest
import torch

from acs_fast._util.stopwatch import Stopwatch


def test_stages_add_up_and_have_a_name_in_the_profiler():
    watch = Stopwatch(torch.device("cpu"))
    with torch.profiler.profile() as profile:
        for _ in range(2):
            with watch("wait"):
                time.sleep(0.01)
        with watch("nothing"):
            pass
    watch.add({"wait": 1.0, "elsewhere": 2.0})
    seconds = watch.seconds()
    assert set(seconds) == {"wait", "nothing", "elsewhere"}
    assert 1.02 <= seconds["wait"] < 30.0
    assert seconds["elsewhere"] == 2.0
    assert seconds == watch.seconds()
    assert {"acs_fast::wait", "acs_fast::nothing"} <= {event.key for event in profile.key_averages()}


def test_a_stage_that_fails_is_counted():
    watch = Stopwatch(torch.device("cpu"))
    with pytest.raises(KeyError), watch("broken"):
        raise KeyError
    assert watch.seconds()["broken"] >= 0.0
