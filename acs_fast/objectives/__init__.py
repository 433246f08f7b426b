"""Training objectives: how a sample is attacked, what it then costs, and the gradient of that at the logits."""

from acs_fast.objectives.atta import ATTA
from acs_fast.objectives.base import CrossEntropy, Objective
from acs_fast.objectives.fast import NFGSM, GradAlignFGSM
from acs_fast.objectives.mart import MART
from acs_fast.objectives.perceptual import PerceptualAT, PerceptualDistance
from acs_fast.objectives.prior_guided import FGSMPGI
from acs_fast.objectives.registry import OBJECTIVES, build_objective
from acs_fast.objectives.standard import FGSM, PGD, Vanilla, WithAttack
from acs_fast.objectives.trades import TRADES

__all__ = [
    "ATTA",
    "FGSM",
    "FGSMPGI",
    "MART",
    "NFGSM",
    "OBJECTIVES",
    "PGD",
    "TRADES",
    "CrossEntropy",
    "GradAlignFGSM",
    "Objective",
    "PerceptualAT",
    "PerceptualDistance",
    "Vanilla",
    "WithAttack",
    "build_objective",
]
