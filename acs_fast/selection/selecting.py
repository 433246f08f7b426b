"""Selections on schedule: gradients from the source, a choice by the selector, the same on every process."""

from __future__ import annotations

import logging
import time
from typing import Any

from acs_fast._util.exchange import Exchange
from acs_fast._util.randomness import derived_seed
from acs_fast._util.settings import load_state, state_of
from acs_fast.coreset import Coreset
from acs_fast.data import Labels
from acs_fast.gradients.source import Extraction, GradientSource
from acs_fast.schedule import Schedule
from acs_fast.selection import distributed
from acs_fast.selection.selector import Selector, completed

logger = logging.getLogger("acs_fast")


class Selecting:
    """Selects coresets of n samples when they are due, and keeps what selectors redraw from between two periods.

    Args:
        selector: who chooses.
        source: of the gradients of all n samples; None where the selector needs none.
        schedule: when a selection is due.
        n: N.
        budget: k.
        labels: of the N samples, read where no gradients bring them.
        seed: of everything random in the selections.
        together: the processes that select together.
    """

    def __init__(
        self,
        selector: Selector,
        source: GradientSource | None,
        schedule: Schedule,
        n: int,
        budget: int,
        labels: Labels,
        seed: int,
        together: distributed.Together,
    ) -> None:
        self.selector, self.source, self.schedule, self.n, self.budget = selector, source, schedule, n, budget
        self.labels, self._seed, self._together = labels, seed, together
        self._epoch = -1  # of the latest selection
        self._taken: Extraction | None = None

    def is_due(self, epoch: int) -> bool:
        """Whether an epoch begins with a selection, not made yet."""
        if not self.schedule.uses_coreset(epoch) or epoch == self._epoch:
            return False
        if self.selector.lasts == "epoch" or self._epoch < 0:
            return True
        return self.selector.lasts == "period" and self._is_outdated(epoch)

    def __call__(self, epoch: int) -> Coreset:
        """The coreset of an epoch."""
        start, seed = time.perf_counter(), derived_seed("selection", self._seed, epoch)
        exchange = self._together.exchange()
        lasts = self.selector.lasts
        source = self.source if self.selector.needs_gradients else None
        if source is not None and lasts != "epoch" and exchange.size > 1:
            chosen, seconds = distributed.select(self.selector, source, self.n, self.budget, seed, exchange)
            coreset = completed(chosen.to("cpu").check(self.n), None)
        else:
            taken, seconds = self._taken, dict[str, float]()
            if source is not None and (taken is None or self._is_outdated(epoch)):
                taken = distributed.gather(source, self.n, seed, exchange)
                seconds = taken.seconds
            coreset = self._chosen(taken, seed, exchange)
            self._taken = taken if lasts == "epoch" else None
        self._epoch = epoch
        total = time.perf_counter() - start
        coreset.stats["seconds"] = {**seconds, **coreset.stats["seconds"], "total": total}
        logger.info("epoch %d: selected %d of %d in %.2f s", epoch, len(coreset), self.n, total)
        return coreset

    def state_dict(self) -> dict[str, Any]:
        """The epoch of the latest selection, what selector and source remember, and gradients kept for redrawing."""
        taken = None if self._taken is None or self._taken.constant else self._taken.state_dict()
        source = {} if self.source is None else self.source.state_dict()
        return {"epoch": self._epoch, "selector": state_of(self.selector), "source": source, "taken": taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what `state_dict` returned."""
        self._epoch = state["epoch"]
        load_state(self.selector, state["selector"])
        if self.source is not None:
            self.source.load_state_dict(state["source"])
        self._taken = None if state["taken"] is None else Extraction.from_state(state["taken"])

    def _is_outdated(self, epoch: int) -> bool:
        """Whether the latest selection is of an earlier period."""
        return self._epoch < self.schedule.last_due(epoch)

    def _chosen(self, taken: Extraction | None, seed: int, exchange: Exchange) -> Coreset:
        """The choice of the first rank."""

        def choose() -> Coreset:
            factors, labels = (None, self.labels()) if taken is None else (taken.gradients, taken.labels.cpu())
            chosen = self.selector.select(self.n, self.budget, factors, labels, seed)
            return completed(chosen.to("cpu").check(self.n), factors)

        return exchange.from_first("the selection", choose)
