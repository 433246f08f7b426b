"""Which epochs train, on what, and when a new coreset is due."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from acs_fast._util.checks import check_count, check_number


@dataclass(frozen=True)
class Schedule:
    """E epochs at the cost of about f E: a warm start on the full data, a gap, then coreset epochs.

    The first int(kappa E) epoch numbers are worth f int(kappa E) epochs of full data; so many are trained on the full
    data, and the rest of these numbers is skipped, so that learning rates that change by epoch number stay where they
    are. From epoch int(kappa E) on every epoch trains on the coreset; a new one is due there and every T epochs after.

    Two options keep to the same rule, that a full-data epoch takes the place of 1/f coreset epochs:

    - `cool_down`: the last int(delta E) numbers end in round(f int(delta E)) full-data epochs, those before are
      skipped. Where that rounds to none, there is no cool-down.
    - `full_refresh`: every T coreset epochs comes a full-data epoch ("refresh") and round(1/f) - 1 skipped numbers,
      after which a new coreset is due. The first coreset follows the warm start, or a refresh where there is none. At
      the end, where a refresh and a coreset epoch after it no longer fit, coreset epochs go on.

    With `whole`, coreset epochs train on the full data too, and the coreset decides something else: no epoch is skipped
    and none is a refresh; with `full_refresh` at least the first epoch comes before the first selection.

    Args:
        epochs: E, >= 1.
        period: T, >= 1.
        warm_start: kappa in [0, 1].
        fraction: f in (0, 1], what a coreset epoch costs relative to a full one.
        cool_down: delta in [0, 1].
        full_refresh, whole: see above.

    Raises:
        ValueError: a value outside its range, or warm start and cool-down overlap.

    Source: Dolatabadi, Erfani, Leckie, "l-infinity Robustness and Beyond", ECCV 2022, Section 4.
    """

    epochs: int
    period: int
    warm_start: float
    fraction: float
    cool_down: float = 0.0
    full_refresh: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        check_count("epochs", self.epochs, low=1)
        check_count("period", self.period, low=1)
        check_number("warm_start", self.warm_start, low=0.0, high=1.0)
        check_number("fraction", self.fraction, low=0.0, high=1.0, above=True)
        check_number("cool_down", self.cool_down, low=0.0, high=1.0)
        if self.first_coreset_epoch > self._first_cool_epoch:
            raise ValueError(
                f"warm_start and cool_down must leave room for each other; {self.warm_start:g} and {self.cool_down:g} "
                f"of {self.epochs} epochs overlap"
            )

    @property
    def first_coreset_epoch(self) -> int:
        """int(kappa E); with `full_refresh` and no warm start that epoch is a refresh."""
        return max(int(self.warm_start * self.epochs), int(self.whole and self.full_refresh))

    @property
    def full_epochs(self) -> int:
        """How many epochs of the warm start train on the full data."""
        return round(self._share * self.first_coreset_epoch)

    @property
    def training_epochs(self) -> list[int]:
        """The epoch numbers that train."""
        return [e for e, kind in enumerate(self.kinds) if kind != "skipped"]

    @property
    def cost(self) -> float:
        """How many samples all epochs together visit, in full-data epochs."""
        return sum({"coreset": self._share, "skipped": 0.0}.get(kind, 1.0) for kind in self.kinds)

    def kind(self, epoch: int) -> str:
        """What an epoch trains on: "full", "skipped", "coreset" or "refresh" (full data, to select from)."""
        return self.kinds[epoch]

    def selection_due(self, epoch: int) -> bool:
        return epoch in self._due

    def last_selection(self, epoch: int) -> int:
        """The latest epoch up to this one at which a selection was due; -1 before the first."""
        return max((e for e in self._due if e <= epoch), default=-1)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """What each of the E epochs trains on; see `kind`."""
        first, cool, end = self.first_coreset_epoch, self._first_cool_epoch, self.epochs
        warm = ["full"] * self.full_epochs + ["skipped"] * (first - self.full_epochs)
        cooling = ["skipped"] * (end - cool - self._cool_epochs) + ["full"] * (self._cool_epochs if cool < end else 0)
        return (*warm, *self._middle(cool - first), *cooling)

    def _middle(self, length: int) -> list[str]:
        if not self._refreshes:
            return ["coreset"] * length
        span = max(1, round(1.0 / self.fraction))
        kinds: list[str] = []
        wanted = not self.full_epochs
        while len(kinds) < length:
            if wanted and (len(kinds) + span < length or not kinds):
                kinds += ["refresh", *["skipped"] * (span - 1)]
            kinds += ["coreset"] * self.period
            wanted = True
        return kinds[:length]

    @cached_property
    def _due(self) -> frozenset[int]:
        coreset = [e for e, kind in enumerate(self.kinds) if kind == "coreset"]
        if not self._refreshes:
            return frozenset(e for e in coreset if (e - self.first_coreset_epoch) % self.period == 0)
        trained = [(e, kind) for e, kind in enumerate(self.kinds) if kind != "skipped"]
        before = dict(zip([e for e, _ in trained[1:]], [kind for _, kind in trained], strict=False))
        return frozenset(e for e in coreset if before.get(e) != "coreset")

    @property
    def _cool_epochs(self) -> int:
        return round(self._share * int(self.cool_down * self.epochs))

    @property
    def _share(self) -> float:
        """What a coreset epoch visits of the data."""
        return 1.0 if self.whole else self.fraction

    @property
    def _refreshes(self) -> bool:
        return self.full_refresh and not self.whole

    @property
    def _first_cool_epoch(self) -> int:
        return self.epochs - (int(self.cool_down * self.epochs) if self._cool_epochs else 0)
