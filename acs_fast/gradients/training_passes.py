"""What training passes tell about each sample, kept for the next selection: factors and perturbations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from acs_fast._util.randomness import preserved_random_state
from acs_fast.gradients.extract import Extraction, HeadReader
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.gradients.head import recorded, unwrapped
from acs_fast.objectives import Objective
from acs_fast.objectives.memory_bank import SampleMemory
from acs_fast.objectives.model_state import uncompiled, untouched

PARTS = ("logits", "features", "labels")


class FactorMemory:
    """What the head saw of each sample in its latest training pass; factors and losses are made of it when asked for.

    Args:
        model: being trained; its forward passes are watched inside `observe`.
        objective: an `Objective` whose residuals have a closed form.
        head: as in `last_layer_gradients`.
        sample: gives one batch (x, y) to find the head with.

    Raises:
        TypeError: the objective's residuals have no closed form, or the model's passes cannot be watched.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        head: nn.Module | str | None,
        sample: Callable[[], tuple[Tensor, Tensor]],
    ) -> None:
        if not objective.closed_form:
            raise TypeError(
                "refresh='train' needs an objective whose loss alone says what a sample costs, since residuals come "
                f"from it; got {objective!r}"
            )
        if isinstance(model, nn.DataParallel) or uncompiled(model) is not model:
            raise TypeError(
                "refresh='train' watches the model's head while training, which torch.compile and DataParallel hide; "
                f"got {type(model).__name__}: use refresh='attack'"
            )
        self._model, self._sample = model, sample
        self._reader = HeadReader(unwrapped(model), objective, head)
        self._memories = {name: SampleMemory() for name in PARTS}

    @contextmanager
    def observe(self, index: Tensor, y: Tensor) -> Iterator[None]:
        """See `AdversarialCoreset.observe`."""
        head = self._found_head()
        with recorded(head) as passes:
            yield
        if not passes.logits:
            raise ValueError("the model's forward pass of the loss must run inside observe; it did not")
        logits, features = (torch.stack([t.detach() for t in side], 1) for side in (passes.logits, passes.features))
        if not len(index) == len(y) == len(logits):
            raise ValueError(
                f"index and y must number the {len(logits)} samples of the forward pass inside observe; got "
                f"{len(index)} and {len(y)}"
            )
        for name, rows in zip(PARTS, (logits, features, y.to(logits.device)), strict=True):
            self._memories[name].write(index, rows)

    def taken(self, members: Tensor, labels: Tensor) -> Extraction:
        """The latest factors of the samples `members` [M], with the labels that their losses had.

        Args:
            members: sample numbers.
            labels: [M], of the extraction.

        Raises:
            ValueError: some of them were never observed; names how many.
        """
        logits, features, own = (self._read(self._memories[name], members) for name in PARTS)
        residuals, features, losses = self._reader.closed(logits.unbind(1), list(features.unbind(1)), own)
        bias = self._found_head().bias is not None
        gradients = LastLayerGradients(residuals, features, bias)
        return Extraction(gradients, labels.to(gradients.device), {}, losses)

    def state(self) -> dict[str, list[Tensor]]:
        return {name: memory.state() for name, memory in self._memories.items()}

    def load(self, state: dict[str, list[Tensor]]) -> None:
        for name, memory in self._memories.items():
            memory.load(state[name])

    def _read(self, memory: SampleMemory, members: Tensor) -> Tensor:
        reached = members < len(memory.known)
        known = (
            memory.known.cpu()[members.clamp_max(max(0, len(memory.known) - 1))] & reached
            if len(memory.known)
            else torch.zeros_like(members, dtype=torch.bool)
        )
        if not bool(known.all()):
            raise ValueError(
                f"refresh='train' selects from training passes, but {int((~known).sum())} of {len(members)} samples "
                "were not observed: run the forward pass of the loss inside `with coreset.observe(index, y):` in every "
                "epoch, from the first, and with a loader that leaves no sample out (drop_last=False)"
            )
        return memory.rows[members.to(memory.rows.device)]

    def _found_head(self) -> nn.Linear:
        if self._reader.head is None:
            with preserved_random_state(), untouched(self._model, keep_buffers=True):
                self._reader.prepare(*self._sample())
            if not self._reader.closed_form:
                raise TypeError(
                    "refresh='train' needs a head whose output is what the model returns, once a pass; use "
                    "refresh='attack'"
                )
        if self._reader.head is None:
            raise RuntimeError("the head was not found")
        return self._reader.head
