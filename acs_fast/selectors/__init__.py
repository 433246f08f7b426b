"""Ways to choose what the coreset epochs train on: by gradients, by scores, or at random as the controls do."""

from acs_fast.selectors.base import GRANULARITIES, Choice, Pool, Selector, epoch_seed
from acs_fast.selectors.design import Design
from acs_fast.selectors.glister import Glister
from acs_fast.selectors.gradient_based import Craig, GradientSelector, GradMatch, batch_gradients
from acs_fast.selectors.random_subsets import Random
from acs_fast.selectors.registry import SELECTORS, selector
from acs_fast.selectors.resampled import CraigStrata, Importance, Resampled
from acs_fast.selectors.scores import SoftPruning, TopScore
from acs_fast.selectors.variance import gradient_variance

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
    "gradient_variance",
    "selector",
]
