"""Tensors in, coreset out: the selection functions, and the selectors that a training loop calls."""

from acs_fast.selection.common import gradient_error
from acs_fast.selection.craig import facility_location, nearest_selected, pairwise_distances
from acs_fast.selection.design import Design
from acs_fast.selection.glister import Glister
from acs_fast.selection.gradient_based import Craig, GradientSelector, GradMatch, batch_gradients
from acs_fast.selection.gradmatch import gradient_matching
from acs_fast.selection.random import Random
from acs_fast.selection.registry import SELECTORS, selector
from acs_fast.selection.resampled import CraigStrata, Importance, Resampled
from acs_fast.selection.scores import SoftPruning, TopScore
from acs_fast.selection.selector import GRANULARITIES, Choice, Pool, Selector, epoch_seed
from acs_fast.selection.variance import gradient_variance

__all__ = [
    "GRANULARITIES",
    "SELECTORS",
    "Choice",
    "Craig",
    "CraigStrata",
    "Design",
    "Glister",
    "GradMatch",
    "GradientSelector",
    "Importance",
    "Pool",
    "Random",
    "Resampled",
    "Selector",
    "SoftPruning",
    "TopScore",
    "batch_gradients",
    "epoch_seed",
    "facility_location",
    "gradient_error",
    "gradient_matching",
    "gradient_variance",
    "nearest_selected",
    "pairwise_distances",
    "selector",
]
