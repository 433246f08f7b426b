"""A run that the command line trained, and the processes of another."""

from tests.runs import folder, short_attacks, squares, torchrun, train

__all__ = ["folder", "short_attacks", "squares", "torchrun", "train"]
