"""Adversarial coreset selection for PyTorch: adversarial training on a small weighted subset."""

from typing import TYPE_CHECKING, Any

from acs_fast._version import __version__ as __version__
from acs_fast.adversarial_coreset import AdversarialCoreset
from acs_fast.coreset import Coreset
from acs_fast.evaluation import evaluate
from acs_fast.gradients import (
    AttackPass,
    Extraction,
    GradientSource,
    LastLayerGradients,
    TrainingPasses,
    Vectors,
    last_layer_gradients,
)
from acs_fast.objectives import (
    ATTA,
    FGSM,
    FGSMPGI,
    NFGSM,
    PGD,
    TRADES,
    Attack,
    CrossEntropy,
    EpsWarmup,
    GradAlignFGSM,
    Loss,
    Objective,
    PerceptualAT,
    PerceptualDistance,
    SelectiveAttack,
    Vanilla,
    WithAttack,
)
from acs_fast.schedule import Schedule
from acs_fast.selection import (
    Clusters,
    Craig,
    GradMatch,
    PerBatch,
    Random,
    RoundRobin,
    Selector,
    facility_location,
    gradient_error,
    gradient_matching,
    pairwise_distances,
)
from acs_fast.weighting import weighted_mean

if TYPE_CHECKING:
    from acs_fast.training import load

__all__ = [
    "ATTA",
    "FGSM",
    "FGSMPGI",
    "NFGSM",
    "PGD",
    "TRADES",
    "AdversarialCoreset",
    "Attack",
    "AttackPass",
    "Clusters",
    "Coreset",
    "Craig",
    "CrossEntropy",
    "EpsWarmup",
    "Extraction",
    "GradAlignFGSM",
    "GradMatch",
    "GradientSource",
    "LastLayerGradients",
    "Loss",
    "Objective",
    "PerBatch",
    "PerceptualAT",
    "PerceptualDistance",
    "Random",
    "RoundRobin",
    "Schedule",
    "SelectiveAttack",
    "Selector",
    "TrainingPasses",
    "Vanilla",
    "Vectors",
    "WithAttack",
    "evaluate",
    "facility_location",
    "gradient_error",
    "gradient_matching",
    "last_layer_gradients",
    "load",
    "pairwise_distances",
    "weighted_mean",
]


def __getattr__(name: str) -> Any:
    """What trains is imported where it is asked for."""
    if name == "load":
        from acs_fast.training import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
