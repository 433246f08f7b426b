"""One problem on several processes."""

from __future__ import annotations

import torch

from acs_fast._util.exchange import Exchange
from acs_fast.selection.distributed import Shard, facility_location
from tests.helpers import make_gradients


def test_late_picks_share_meetings() -> None:
    g = make_gradients(600, 5, 6)
    exchange = Exchange()
    together = facility_location(Shard(g, torch.arange(600)), 300, per_class=False, exchange=exchange)
    assert together.stats["rounds"] < 60
