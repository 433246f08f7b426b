"""Gradients of every sample from its latest training pass: no attack, no pass of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.checks import as_integers
from acs_fast._util.exchange import Exchange
from acs_fast._util.randomness import preserved_random_state
from acs_fast.gradients.extract import HeadReader
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.gradients.head import HeadPasses, recorded
from acs_fast.gradients.source import Extraction, GradientSource
from acs_fast.objectives import as_objective
from acs_fast.objectives.memory_bank import MemoryBank
from acs_fast.objectives.model_state import untouched, unwrapped

PARTS = ("logits", "features", "labels")
NEVER = -1  # when a sample was last observed, before it was


class TrainingPasses(GradientSource):
    """Gradient source: what the head saw of each sample in its latest training pass.

    Put `observe` around the forward pass of the training loss, in every epoch from the first::

        with passes.observe(index, y):
            losses = objective.per_sample_loss(model, x, x_adv, y)

    These are gradients at training time: of the weights before each step, in train mode (batch norm, dropout) and with
    augmentation; samples outside the coreset keep those of the last full epoch, which is why this goes with
    `Schedule.refreshing` or `Schedule.every`. Factors of all samples stay on the model's device, R (C + D) numbers
    each, and are part of `state_dict`.

    Under DDP every process remembers the samples that it has trained on, all of them in the long run; a selection takes
    each sample from the process that saw it last. A state that was saved by one process does not hold what the others
    remember, so that a resumed run must observe every sample again before it selects.

    Args:
        model: being trained; its forward passes are watched inside `observe`.
        objective: of the training, with residuals in closed form.
        head: the linear layer or its dotted name; by default the last `nn.Linear` that gives the model's output.

    Raises:
        TypeError: the objective's residuals have no closed form, or the model's passes cannot be watched.
    """

    def __init__(self, model: nn.Module, objective: Any, *, head: nn.Module | str | None = None) -> None:
        objective = as_objective(objective)
        if not objective.closed_form:
            raise TypeError(
                "objective must be one whose loss alone says what a sample costs, since residuals come from it; got "
                f"{objective!r}: use AttackPass"
            )
        if isinstance(model, nn.DataParallel) or hasattr(model, "_orig_mod"):
            raise TypeError(
                "model must be one whose head can be watched while training, which torch.compile and DataParallel "
                f"hide; got {type(model).__name__}: use AttackPass"
            )
        self.model, self.objective = model, objective
        self._reader = HeadReader(unwrapped(model), objective, head)
        self._memories = {name: MemoryBank() for name in PARTS}
        self._last = torch.empty(0, dtype=torch.int64)  # number of the pass that has shown each sample
        self._passes = 0
        self._bias = True

    @contextmanager
    def observe(self, index: Tensor, y: Tensor) -> Iterator[None]:
        """Watch one forward pass of the loss.

        Args:
            index: [B] sample numbers, as the dataset emits them.
            y: [B] labels.

        Raises:
            TypeError: index or y hold no integers.
            ValueError, TypeError: on leaving, when the model was not called, or its head gives no closed form.
        """
        index, y = as_integers("index", index), as_integers("y", y)
        with ExitStack() as stack:
            found = self._watch(stack)
            yield
        passes = found[0] if found else HeadPasses()
        if not passes.logits:
            raise ValueError("the model's forward pass of the loss must run inside observe; it did not")
        logits, features = (torch.stack([t.detach() for t in side], 1) for side in (passes.logits, passes.features))
        if not len(index) == len(y) == len(logits):
            raise ValueError(
                f"index and y must number the {len(logits)} samples of the forward pass inside observe; got "
                f"{len(index)} and {len(y)}"
            )
        self._bias = self._reader.bias
        for name, rows in zip(PARTS, (logits, features, y.to(logits.device)), strict=True):
            self._memories[name].write(index, rows)
        self._note(index.cpu())

    def __call__(self, seed: int) -> Extraction:
        """The latest factors of all samples, with the labels of their losses; nothing in it is random.

        Raises:
            ValueError: some of them were never observed; names how many.
        """
        return self._taken(self._checked(self._last != NEVER))

    def shard(self, seed: int, exchange: Exchange) -> tuple[Extraction, Tensor]:
        """The samples trained on last by this process, and their numbers [n_r].

        Raises:
            ValueError: no process has observed some of the samples; names how many.
        """
        n = int(exchange.maximum(torch.tensor(len(self._last))))
        last = torch.full((n,), NEVER)
        last[: len(self._last)] = self._last
        latest = exchange.maximum(last)
        self._checked(latest != NEVER)
        holder = exchange.maximum(torch.where(last == latest, exchange.rank, NEVER))
        own = (holder == exchange.rank).nonzero().flatten()
        with exchange.together("reading the training passes"):
            taken = self._taken(own)
        return taken, own

    def _taken(self, own: Tensor) -> Extraction:
        logits, features, labels = (self._rows(name, own) for name in PARTS)
        residuals, features = self._reader.closed(logits.unbind(1), list(features.unbind(1)), labels)
        return Extraction(LastLayerGradients(residuals, features, self._bias), labels)

    def state_dict(self) -> dict[str, Any]:
        """The memory of every sample, for bit-identical resumption."""
        memories = {name: memory.state() for name, memory in self._memories.items()}
        return {"bias": self._bias, "last": self._last.clone(), "passes": self._passes, **memories}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what `state_dict` returned."""
        self._bias, self._last, self._passes = state["bias"], state["last"].cpu().clone(), state["passes"]
        for name, memory in self._memories.items():
            memory.load(state[name])

    def __repr__(self) -> str:
        return f"TrainingPasses({self.objective!r})"

    def _watch(self, stack: ExitStack) -> list[HeadPasses]:
        """Record the head from now on, or as soon as the model's first pass has told which layer it is."""
        found: list[HeadPasses] = []
        if self._reader.head is not None:
            return [stack.enter_context(recorded(self._reader.head))]

        def find(module: nn.Module, args: tuple[Any, ...]) -> None:
            handle.remove()
            found.append(stack.enter_context(recorded(self._head_for(args[0]))))

        handle = unwrapped(self.model).register_forward_pre_hook(find)
        stack.callback(handle.remove)
        return found

    def _head_for(self, x: Tensor) -> nn.Linear:
        with preserved_random_state(), untouched(self.model, keep_buffers=True):
            head = self._reader.find(x)
        if not self._reader.closed_form:
            raise TypeError("head must be a layer whose output is what the model returns, once a pass; use AttackPass")
        return head

    def _rows(self, name: str, own: Tensor) -> Tensor:
        rows = self._memories[name].rows
        return rows[own.to(rows.device)]

    def _note(self, index: Tensor) -> None:
        """Remember that the pass that was just observed has shown these samples."""
        missing = int(index.max()) + 1 - len(self._last) if len(index) else 0
        if missing > 0:
            self._last = torch.cat([self._last, torch.full((missing,), NEVER)])
        self._last[index] = self._passes
        self._passes += 1

    def _checked(self, known: Tensor) -> Tensor:
        """The numbers of all samples, once each of them was observed."""
        if not len(known) or not bool(known.all()):
            raise ValueError(
                f"training passes must have shown every sample; {int((~known).sum())} of {len(known)} were not "
                "observed: run the forward pass of the loss inside `with passes.observe(index, y):` in every epoch, "
                "from the first, and with a loader that leaves no sample out (drop_last=False)"
            )
        return torch.arange(len(known))
