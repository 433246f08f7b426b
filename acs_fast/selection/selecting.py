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
from acs_fast.gradients.extract import Extraction
from acs_fast.schedule import Schedule
from acs_fast.selection import distributed
from acs_fast.selection.selector import Selector, completed

logger = logging.getLogger("acs_fast")


class Selecting:
    """Selects coresets of n samples when they are due, and keeps what selectors redraw from between two periods.

    Args:
        selector: who chooses.
        source: called as source(seed) -> `Extraction` of all n samples; None where the selector needs no gradients.
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
        source: Any,
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
        lasts, needs_gradients = self.selector.lasts, self.selector.needs_gradients
        if needs_gradients and lasts != "epoch" and self._in_shares(exchange):
            chosen, seconds = distributed.select(self.selector, self.source, self.n, self.budget, seed, exchange)
            coreset = completed(chosen.to("cpu").check(self.n), None)
        else:
            taken, seconds = self._taken, dict[str, float]()
            if needs_gradients and (taken is None or self._is_outdated(epoch)):
                taken = self._take(seed, exchange)
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
        parts = {"selector": state_of(self.selector), "source": state_of(self.source)}
        return {"epoch": self._epoch, **parts, "taken": taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what `state_dict` returned."""
        self._epoch = state["epoch"]
        load_state(self.selector, state["selector"])
        load_state(self.source, state["source"])
        self._taken = None if state["taken"] is None else Extraction.from_state(state["taken"])

    def _is_outdated(self, epoch: int) -> bool:
        """Whether the latest selection is of an earlier period."""
        return self._epoch < self.schedule.last_due(epoch)

    def _in_shares(self, exchange: Exchange) -> bool:
        """Whether each process takes a part of the gradients."""
        return exchange.size > 1 and hasattr(self.source, "shard")

    def _take(self, seed: int, exchange: Exchange) -> Extraction:
        if self._in_shares(exchange):
            return distributed.gather(self.source, self.n, seed, exchange)
        with exchange.together("taking the gradients"):
            taken: Extraction = self.source(seed)
            if len(taken.gradients) != self.n:
                raise ValueError(f"gradients must be those of all {self.n} samples; got {len(taken.gradients)}")
        return taken

    def _chosen(self, taken: Extraction | None, seed: int, exchange: Exchange) -> Coreset:
        """The choice of the first rank."""

        def choose() -> Coreset:
            factors, labels = (None, self.labels()) if taken is None else (taken.gradients, taken.labels.cpu())
            chosen = self.selector.select(self.n, self.budget, factors, labels, seed)
            return completed(chosen.to("cpu").check(self.n), factors)

        return exchange.from_first("the selection", choose)
