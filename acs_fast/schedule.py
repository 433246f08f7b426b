"""Which epochs train, on what, and when a new coreset is due."""

from __future__ import annotations

from dataclasses import dataclass

from acs_fast.checks import check_count, check_number


@dataclass(frozen=True)
class Schedule:
    """E epochs at the cost of about f E: a warm start on the full data, a gap, then coreset epochs.

    The first int(kappa E) epoch numbers are worth f int(kappa E) epochs of full data; so many are trained on the full
    data, and the rest of these numbers is skipped, so that learning rates that change by epoch number stay where they
    are. From epoch int(kappa E) on every epoch trains on the coreset; a new one is due there and every T epochs after.

    Args:
        epochs: E, >= 1.
        period: T, >= 1.
        warm_start: kappa in [0, 1].
        fraction: f in (0, 1], what a coreset epoch costs relative to a full one.

    Raises:
        ValueError: a value outside its range.

    Source: Dolatabadi, Erfani, Leckie, "l-infinity Robustness and Beyond", ECCV 2022, Section 4.
    """

    epochs: int
    period: int
    warm_start: float
    fraction: float

    def __post_init__(self) -> None:
        check_count("epochs", self.epochs, low=1)
        check_count("period", self.period, low=1)
        check_number("warm_start", self.warm_start, low=0.0, high=1.0)
        check_number("fraction", self.fraction, low=0.0, high=1.0, above=True)

    @property
    def first_coreset_epoch(self) -> int:
        return int(self.warm_start * self.epochs)

    @property
    def full_epochs(self) -> int:
        """How many epochs train on the full data."""
        return round(self.fraction * self.first_coreset_epoch)

    @property
    def training_epochs(self) -> list[int]:
        """The epoch numbers that train."""
        return [*range(self.full_epochs), *range(self.first_coreset_epoch, self.epochs)]

    def kind(self, epoch: int) -> str:
        """What an epoch trains on: "full", "skipped" or "coreset"."""
        if epoch < self.full_epochs:
            return "full"
        return "skipped" if epoch < self.first_coreset_epoch else "coreset"

    def selection_due(self, epoch: int) -> bool:
        since = epoch - self.first_coreset_epoch
        return since >= 0 and since % self.period == 0
