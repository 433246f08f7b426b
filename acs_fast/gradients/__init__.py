"""Factored per-sample gradients of the last linear layer, and the sources of a selection."""

from acs_fast.gradients.attack_pass import AttackPass
from acs_fast.gradients.extract import FeaturesFn, last_layer_gradients
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.gradients.source import Extraction, GradientSource, as_source
from acs_fast.gradients.training_passes import TrainingPasses
from acs_fast.gradients.vectors import Vectors

__all__ = [
    "AttackPass",
    "Extraction",
    "FeaturesFn",
    "GradientSource",
    "LastLayerGradients",
    "TrainingPasses",
    "Vectors",
    "as_source",
    "last_layer_gradients",
]
