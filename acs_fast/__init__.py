"""Adversarial coreset selection for PyTorch: adversarial training on a small weighted subset."""

from acs_fast.coreset import Coreset
from acs_fast.gradients import LastLayerGradients
from acs_fast.selection import facility_location, gradient_error, gradient_matching, pairwise_distances

__all__ = [
    "Coreset",
    "LastLayerGradients",
    "facility_location",
    "gradient_error",
    "gradient_matching",
    "pairwise_distances",
]

__version__ = "0.1.0"
