"""Selection across processes: the same picks, weights and gains at any number of them."""

from acs_fast.selection.distributed.covering import facility_location
from acs_fast.selection.distributed.matching import gradient_matching
from acs_fast.selection.distributed.selectors import register_across, select_across
from acs_fast.selection.distributed.shard import Shard
from acs_fast.selection.distributed.together import Together, fingerprint, fingerprints, gather, select

__all__ = [
    "Shard",
    "Together",
    "facility_location",
    "fingerprint",
    "fingerprints",
    "gather",
    "gradient_matching",
    "register_across",
    "select",
    "select_across",
]
