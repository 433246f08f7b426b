"""Tensors in, coreset out: the selection algorithms as functions that know no model and no data set."""

from acs_fast.selection.common import gradient_error
from acs_fast.selection.facility_location import facility_location, nearest_selected, pairwise_distances
from acs_fast.selection.gradient_matching import gradient_matching

__all__ = ["facility_location", "gradient_error", "gradient_matching", "nearest_selected", "pairwise_distances"]
