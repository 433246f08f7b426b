"""The kind of each epoch, and the epochs with a selection due."""

from __future__ import annotations

from dataclasses import dataclass

from acs_fast._util.checks import check_choice, check_count, check_number

KINDS = ("full", "coreset", "selective", "skipped")
MOST_EPOCHS = 1_000_000


@dataclass(frozen=True)
class Schedule:
    """The kinds of E epochs, and the epochs with a new coreset due.

    Args:
        kinds: for each of the E epoch numbers "full" (all data), "coreset" (the coreset alone), "selective" (all data;
            the coreset decides something else, such as what is attacked) or "skipped" (trains nothing).
        due: coreset and selective epochs that begin with a new selection.

    Raises:
        ValueError: no epochs, an unknown kind, or a selection due in an epoch that has no use for a coreset.

    Example:
        >>> Schedule.published(epochs=4, fraction=0.5, period=2, warm_start=0.5).kinds
        ('full', 'skipped', 'coreset', 'coreset')
    """

    kinds: tuple[str, ...]
    due: frozenset[int]

    def __post_init__(self) -> None:
        check_count("epochs", len(self.kinds), low=1)
        for kind in self.kinds:
            check_choice("kinds", kind, KINDS)
        wrong = [e for e in sorted(self.due) if not 0 <= e < len(self.kinds) or not self.uses_coreset(e)]
        if wrong:
            raise ValueError(f"due must hold coreset and selective epochs; got {wrong[0]}")

    @classmethod
    def published(cls, epochs: int, fraction: float, period: int = 20, warm_start: float = 0.5) -> Schedule:
        """E epochs at the cost of about f E: a warm start on the full data, a gap, then coreset epochs.

        The first int(kappa E) epoch numbers are worth f int(kappa E) epochs of full data: so many train on the full
        data and the rest of these numbers is skipped, so that learning rates that change by epoch number stay where
        they are. Every later epoch trains on the coreset; a new one is due in the first and every T epochs after it.

        Args:
            epochs: E, >= 1.
            fraction: f in (0, 1], the size of the coreset relative to the data.
            period: T, >= 1.
            warm_start: kappa in [0, 1].

        Raises:
            ValueError: an argument outside its range.

        Source: Dolatabadi, Erfani, Leckie, "l-infinity Robustness and Beyond", ECCV 2022, Section 4.
        """
        warm = _warm_epochs(epochs, period, warm_start)
        check_number("fraction", fraction, low=0.0, high=1.0, above=True)
        full = round(fraction * warm)
        kinds = ["full"] * full + ["skipped"] * (warm - full) + ["coreset"] * (epochs - warm)
        return cls(tuple(kinds), frozenset(range(warm, epochs, period)))

    @classmethod
    def every(cls, epochs: int, period: int = 20, warm_start: float = 0.0) -> Schedule:
        """Train on all data in every epoch; the coreset decides something else, such as what is attacked.

        Args:
            epochs: E, >= 1.
            period: T, >= 1: epochs between selections.
            warm_start: kappa in [0, 1]: the first int(kappa E) epochs have no coreset.

        Raises:
            ValueError: an argument outside its range.
        """
        warm = _warm_epochs(epochs, period, warm_start)
        return cls(("full",) * warm + ("selective",) * (epochs - warm), frozenset(range(warm, epochs, period)))

    @classmethod
    def refreshing(cls, epochs: int, fraction: float, period: int = 20, warm_start: float = 0.5) -> Schedule:
        """The published schedule with a full-data epoch before every selection, at equal total cost.

        For gradients of training passes, which are as old as the last full-data epoch. After every T coreset epochs
        come a full-data epoch and round(1 / f) - 1 skipped numbers; then a new coreset is due. The first coreset
        follows the warm start, or a full-data epoch where there is none. At the end, where a full-data epoch and a
        coreset epoch after it no longer fit, coreset epochs go on.

        Args:
            epochs, fraction, period, warm_start: see `published`.

        Raises:
            ValueError: an argument outside its range.
        """
        warm = _warm_epochs(epochs, period, warm_start)
        check_number("fraction", fraction, low=0.0, high=1.0, above=True)
        full, length = round(fraction * warm), epochs - warm
        span = max(1, round(min(length, 1.0 / fraction)))
        later: list[str] = []
        due = set[int]()
        wanted = not full
        while len(later) < length:
            refreshed = wanted and (len(later) + span < length or not later)
            if refreshed:
                later += ["full", *["skipped"] * (span - 1)]
            if refreshed or not due:
                due.add(warm + len(later))
            later += ["coreset"] * min(period, length)
            wanted = True
        kinds = ["full"] * full + ["skipped"] * (warm - full) + later[:length]
        return cls(tuple(kinds), frozenset(e for e in due if e < epochs))

    @property
    def epochs(self) -> list[int]:
        """Numbers of the training epochs, without those skipped."""
        return [e for e, kind in enumerate(self.kinds) if kind != "skipped"]

    def kind(self, epoch: int) -> str:
        """The kind of an epoch. Raises ValueError outside the schedule."""
        if check_count("epoch", epoch) >= len(self.kinds):
            raise ValueError(f"epoch must be below epochs, {len(self.kinds)}, counted from 0; got {epoch}")
        return self.kinds[epoch]

    def nth(self, number: int) -> int:
        """The number-th training epoch, from 0. Raises ValueError where there are fewer."""
        if check_count("epoch", number) >= len(self.epochs):
            raise ValueError(f"epoch must be below the number of epochs that train, {len(self.epochs)}; got {number}")
        return self.epochs[number]

    def uses_coreset(self, epoch: int) -> bool:
        """Whether an epoch needs a coreset."""
        return self.kinds[epoch] in ("coreset", "selective")

    def last_due(self, epoch: int) -> int:
        """The latest epoch with a selection due, up to this one; -1 before the first."""
        return max((e for e in self.due if e <= epoch), default=-1)

    def cost(self, fraction: float) -> float:
        """Visited samples of all epochs together, in full-data epochs."""
        return sum({"coreset": fraction, "skipped": 0.0}.get(kind, 1.0) for kind in self.kinds)


def _warm_epochs(epochs: int, period: int, warm_start: float) -> int:
    """int(kappa E), the arguments checked."""
    if check_count("epochs", epochs, low=1) > MOST_EPOCHS:
        raise ValueError(f"epochs must be at most {MOST_EPOCHS:,}; got {epochs}")
    check_count("period", period, low=1)
    return int(check_number("warm_start", warm_start, low=0.0, high=1.0) * epochs)
