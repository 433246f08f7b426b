"""The library of another checkout as an opponent."""

from __future__ import annotations

import pytest

from acs_fast.ops import backends
from benchmarks import ROOT, ops, peers
from benchmarks.peers import older


@pytest.mark.skipif(backends.why_missing("cpu") is not None, reason="no compiled module")
@pytest.mark.parametrize("case", [c for c in ops.QUICK if "ours-cpu" in c.opponents], ids=lambda c: c.name)
def test_library_of_another_checkout_gives_the_same_answer(case):
    work = case.prepare(older.opponent(ROOT), "cpu")
    ours = case.prepare(peers.OPPONENTS["ours-cpu"], "cpu")
    work.run()
    assert work.judge(work.run()) == ours.judge(ours.run())


def test_older_library_that_ends_is_told(tmp_path):
    work = ops.QUICK[0].prepare(older.opponent(tmp_path), "cpu")
    with pytest.raises(RuntimeError, match="ended with code 1"):
        work.run()
