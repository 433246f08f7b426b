"""Tensors in, coreset out: the selection functions, and the selectors of a training loop."""

from acs_fast.selection.clusters import Clusters
from acs_fast.selection.common import gradient_error
from acs_fast.selection.craig import Craig, facility_location, nearest_selected, pairwise_distances
from acs_fast.selection.gradmatch import GradMatch, gradient_matching
from acs_fast.selection.per_batch import PerBatch, batch_gradients
from acs_fast.selection.random import Random
from acs_fast.selection.registry import SELECTORS, build_selector
from acs_fast.selection.round_robin import RoundRobin
from acs_fast.selection.selecting import Selecting
from acs_fast.selection.selector import LASTS, Selector, completed

__all__ = [
    "LASTS",
    "SELECTORS",
    "Clusters",
    "Craig",
    "GradMatch",
    "PerBatch",
    "Random",
    "RoundRobin",
    "Selecting",
    "Selector",
    "batch_gradients",
    "build_selector",
    "completed",
    "facility_location",
    "gradient_error",
    "gradient_matching",
    "nearest_selected",
    "pairwise_distances",
]
