"""Training objectives: an attack, a loss, and the gradient of the loss at the logits."""

from acs_fast.objectives.atta import ATTA
from acs_fast.objectives.base import Attack, Loss, Objective
from acs_fast.objectives.cross_entropy import FGSM, PGD, CrossEntropy, Vanilla
from acs_fast.objectives.fast import NFGSM, GradAlignFGSM
from acs_fast.objectives.foreign import WithAttack, as_objective
from acs_fast.objectives.model_state import logits_of, untouched
from acs_fast.objectives.perceptual import PerceptualAT, PerceptualDistance
from acs_fast.objectives.prior_guided import FGSMPGI
from acs_fast.objectives.registry import OBJECTIVES, build_objective
from acs_fast.objectives.selective import SelectiveAttack
from acs_fast.objectives.trades import TRADES
from acs_fast.objectives.warmup import EpsWarmup

__all__ = [
    "ATTA",
    "FGSM",
    "FGSMPGI",
    "NFGSM",
    "OBJECTIVES",
    "PGD",
    "TRADES",
    "Attack",
    "CrossEntropy",
    "EpsWarmup",
    "GradAlignFGSM",
    "Loss",
    "Objective",
    "PerceptualAT",
    "PerceptualDistance",
    "SelectiveAttack",
    "Vanilla",
    "WithAttack",
    "as_objective",
    "build_objective",
    "logits_of",
    "untouched",
]
