"""A selection in terms of all N samples, whatever part of them it was made from, and how good it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.randomness import derived_seed
from acs_fast.coreset import Coreset
from acs_fast.gradients.attack_pass import Candidates
from acs_fast.gradients.extract import Extraction
from acs_fast.selection import Choice, Design, Pool, Resampled, Selector, gradient_error, gradient_variance

VARIANCE_DRAWS = 16  # coresets that the gradient variance in the stats is taken over
KEPT = ("seconds", "backend", "kernels", "path", "peak_bytes", "objective")  # true of every draw of a selection


class Chooser:
    """Calls a selector, and keeps the sampling design of those that redraw from one.

    Args:
        selector: who chooses.
        n: N.
        fraction: size of the coreset relative to N.

    Attributes:
        design: the current one, over all N samples; None before the first, and for selectors that have none.
    """

    def __init__(self, selector: Selector, n: int, fraction: float) -> None:
        self.selector, self.n, self.fraction = selector, n, fraction
        self.design: Design | None = None

    def without_gradients(self, labels: Tensor | None, seed: int) -> Choice:
        """A draw from the design, or the choice of a selector that needs no gradients."""
        if self.design is not None:
            return Choice(self.design.draw(seed))
        return self._chosen(Pool(self.n, labels), self.fraction, seed)

    def among(self, candidates: Candidates, taken: Extraction, seed: int) -> Choice:
        """A choice among candidates, its budget that of all samples and its weights scaled up to them."""
        whole = len(candidates) == self.n
        budget = max(1, int(self.fraction * self.n))
        fraction = self.fraction if whole else candidates.fraction(budget)
        stats = {} if whole else {"pool": len(candidates)}
        if isinstance(self.selector, Resampled):
            design = self.selector.prepare(_pool(taken), fraction, seed)
            self.design = design.within(candidates.members, candidates.scale, self.n)
            drawn = self.design.draw(seed)
            kept = {k: design.stats[k] for k in KEPT if k in design.stats}
            return Choice(replace(drawn, stats={**drawn.stats, **kept, **stats}))
        choice = self._chosen(_pool(taken), fraction, seed)
        if whole:
            return choice
        own = choice.coreset
        weights = (own.weights.double() * candidates.scale[own.indices]).float()
        coreset = Coreset(candidates.members[own.indices], weights, own.gains, {**own.stats, **stats}).check(self.n)
        batches = None if choice.batches is None else [candidates.members[b] for b in choice.batches]
        return Choice(coreset, batches)

    def measured(
        self, candidates: Candidates, taken: Extraction, coreset: Coreset, seed: int, redraw: bool = True
    ) -> dict[str, float]:
        """The gradient error of the coreset, and its mean square over draws; relative to the candidates' gradients.

        Where there is nothing to draw again, that is the square of this one's; without `redraw` it is left out where
        there is.
        """
        position = torch.full((self.n,), -1, dtype=torch.int64)
        position[candidates.members] = torch.arange(len(candidates))

        def local(drawn: Coreset) -> Coreset:
            own = position[drawn.indices]
            return Coreset(own, (drawn.weights.double() / candidates.scale[own]).float(), drawn.gains)

        here = local(coreset).to(taken.gradients.device)
        error = gradient_error(taken.gradients, here.indices, here.weights)
        if self.design is None and (self.selector.needs_gradients or not self.selector.redraws):
            return {"relative_gradient_error": error, "gradient_variance": error * error}
        if not redraw:
            return {"relative_gradient_error": error}
        seeds = [derived_seed("variance", seed, i) for i in range(VARIANCE_DRAWS)]
        if self.design is not None:
            draws = [local(self.design.draw(s)) for s in seeds]
        else:
            draws = [self._chosen(_pool(taken), self.fraction, s).coreset for s in seeds]
        return {"relative_gradient_error": error, "gradient_variance": gradient_variance(taken.gradients, draws)}

    def _chosen(self, pool: Pool, fraction: float, seed: int) -> Choice:
        return self.selector.choose(pool, fraction, seed).completed(pool.n)

    def state(self) -> dict[str, Any] | None:
        return None if self.design is None else self.design.state()

    def load(self, state: dict[str, Any] | None) -> None:
        self.design = None if state is None else Design.restored(state)


def _pool(taken: Extraction) -> Pool:
    return Pool(len(taken.gradients), taken.labels, taken.gradients, taken.losses, taken.input_norms)
