"""Selection across processes: the same picks, weights and gains at any number of them."""

from acs_fast.selection.distributed.covering import facility_location
from acs_fast.selection.distributed.matching import gradient_matching
from acs_fast.selection.distributed.shard import Shard

__all__ = ["Shard", "facility_location", "gradient_matching"]
