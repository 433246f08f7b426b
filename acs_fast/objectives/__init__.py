"""Training objectives: how a sample is attacked, what it then costs, and the gradient of that at the logits."""

from acs_fast.objectives.base import Objective
from acs_fast.objectives.standard import FGSM, PGD, CrossEntropy, Vanilla, WithAttack
from acs_fast.objectives.trades import TRADES

__all__ = ["FGSM", "PGD", "TRADES", "CrossEntropy", "Objective", "Vanilla", "WithAttack"]
