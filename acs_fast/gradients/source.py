"""Sources of a selection's gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from acs_fast._util.exchange import Exchange
from acs_fast._util.settings import described, load_state, state_of
from acs_fast.gradients.factored import LastLayerGradients


@dataclass(frozen=True)
class Extraction:
    """Gradients of N samples, their labels, and the seconds of each stage.

    Attributes:
        labels: [N] integers.
        constant: whether the source gives the same whenever it is asked, so that states leave it out.
    """

    gradients: LastLayerGradients
    labels: Tensor
    seconds: dict[str, float] = field(default_factory=dict)
    constant: bool = False

    def state_dict(self) -> dict[str, Any]:
        """Gradients and labels, in a form for loading with weights_only=True."""
        g = self.gradients
        return {"residuals": g.residuals, "features": g.features, "bias": g.bias, "labels": self.labels}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Extraction:
        """Gradients and labels from their `state_dict`, without seconds."""
        return cls(LastLayerGradients(state["residuals"], state["features"], state["bias"]), state["labels"])


class GradientSource:
    """Base of gradient sources: a subclass defines `__call__`, and the rest where the defaults do not fit.

    Give it a `__repr__` that says what it is: a state saved with another one is refused.

    Example:
        >>> class Random(GradientSource):
        ...     def __call__(self, seed):
        ...         g = torch.randn(8, 5, generator=torch.Generator().manual_seed(seed))
        ...         return Extraction(LastLayerGradients.from_vectors(g), torch.arange(8) % 2)
        >>> len(Random()(seed=0).gradients)
        8
    """

    def __call__(self, seed: int) -> Extraction:
        """Gradients of all N samples in the order of the training data, with their labels.

        Args:
            seed: of everything random in it.
        """
        raise NotImplementedError(f"{type(self).__name__} must define __call__(seed)")

    def shard(self, seed: int, exchange: Exchange) -> tuple[Extraction, Tensor]:
        """This process's part, where several select together; all of them call it.

        Either every sample belongs to one process, or each process has all samples in order; by default the latter.

        Returns:
            the gradients of n_r samples, and their numbers [n_r].

        Raises:
            TypeError: by default, `__call__` returned no `Extraction`.
        """
        with exchange.together("taking the gradients"):
            taken = self(seed)
            if not isinstance(taken, Extraction):
                raise TypeError(
                    f"gradients must return an acs_fast.Extraction(gradients, labels); got {type(taken).__name__}"
                )
        return taken, torch.arange(len(taken.gradients))

    def state_dict(self) -> dict[str, Any]:
        """What it remembers from one call to the next, in a form for loading with weights_only=True."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what `state_dict` returned."""


class CallableSource(GradientSource):
    """A callable of the user's, seed -> `Extraction`, with its state where it has some."""

    def __init__(self, inner: Callable[[int], Extraction]) -> None:
        self._inner = inner

    def __call__(self, seed: int) -> Extraction:
        return self._inner(seed)

    def state_dict(self) -> dict[str, Any]:
        return state_of(self._inner)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        load_state(self._inner, state)

    def __repr__(self) -> str:
        return described(self._inner)


def as_source(source: Any) -> GradientSource:
    """A gradient source, or a callable as one. Raises TypeError for anything else."""
    if isinstance(source, GradientSource):
        return source
    if not callable(source):
        raise TypeError(
            "gradients must be a GradientSource, or callable as gradients(seed) -> Extraction; got "
            f"{type(source).__name__}"
        )
    return CallableSource(source)
