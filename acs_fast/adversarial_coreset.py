"""Coreset selection inside a training loop that the user already has."""

from __future__ import annotations

import copy
import dataclasses
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.checks import check_choice, check_count, check_number
from acs_fast._util.processes import of_first_rank
from acs_fast.choosing import Chooser
from acs_fast.coreset import Coreset
from acs_fast.data.samplers import (
    CoresetBatchSampler,
    CoresetSampler,
    IndexedDataset,
    Plan,
    labels_of,
    selection_view,
    stored_labels,
)
from acs_fast.gradients.attack_pass import AttackPass, Candidates
from acs_fast.gradients.extract import BatchAdapter, Extraction, FeaturesFn, unpack
from acs_fast.gradients.training_passes import FactorMemory
from acs_fast.objectives import Objective, as_objective
from acs_fast.objectives.memory_bank import SampleMemory
from acs_fast.schedule import Schedule
from acs_fast.selection import Resampled, Selector, epoch_seed, selector

logger = logging.getLogger("acs_fast")

STATE = {
    "config", "epoch", "selected_epoch", "coreset", "stats", "batches", "history", "objective", "selection_objective",
    "prepared_epoch", "design", "factors", "perturbations",
}  # fmt: skip
REFRESHES = ("attack", "train")


class AdversarialCoreset:
    """Selects, every few epochs, the weighted coreset that an adversarial training loop goes on with.

    Args:
        model: the model being trained; see `last_layer_gradients`.
        dataset: map-style training data of (x, y) tuples or dicts, x in [0, 1].
        objective: see `last_layer_gradients`.
        selector: a name from `acs_fast.selection.SELECTORS` ("craig", "gradmatch", "craig-strata", "importance",
            "random" ...), or an object like those in `acs_fast.selection`.
        fraction: size of the coreset relative to the data, in (0, 1].
        epochs, period, warm_start: see `Schedule`.
        seed: of the order of samples and of everything random in the selection.
        granularity: "class", "batch" or "global".
        batch_size: of the selection passes, of `batch_sampler`, and of the elements for granularity "batch".
        selection_transform: replaces the dataset's `transform` while selecting, so that random augmentation does not
            leak into the selection. The training data keeps its own.
        selection_dataset: the same samples in the same order without augmentation, where there is no `transform`.
        num_workers: of the selection passes.
        head, features_fn, batch_adapter: see `last_layer_gradients`.
        backend: see `facility_location`.
        rank, world_size: this process's share of the samples under distributed training. Every rank selects, and where
            a `torch.distributed` process group of that size is running, all go on with what rank 0 found: call `step`
            on every rank. What is random in a selection's attacks then comes from `seed` and the epoch alone.
            Objectives that remember samples (`ATTA`, `FGSMPGI`) remember what their own rank saw.
        report_error: also measure the gradient error of selectors that need no gradients; takes an attack pass, whose
            seconds count as "diagnostics" and not as selection.
        selection_objective: what to attack with, and whose loss to take gradients of, while selecting; by default
            `objective`. Usually the same with fewer attack steps.
        warm_perturbations: begin the attacks of a selection where the sample's last one ended, in a selection or in
            training (see `remember`); keeps one perturbation of the size of an image for each sample. Needs an
            objective that `takes_start`, and data that look the same at every visit.
        pool: select from a random sub-pool of this many times the budget, >= 1, drawn anew at each selection (with
            granularity "class" the same share of every class); only its samples are attacked. Their weights are scaled
            up to the full data; the errors in the stats are relative to the sub-pool. Random selectors ignore it.
        refresh: "attack" (a selection attacks its candidates) or "train": it takes what training passes showed of
            each sample last, see `observe`, and attacks nothing. Every period then has an epoch on the full data for
            it, at equal total cost: see `Schedule`. What is taken are gradients at training time: of the weights
            before each step, in train mode (batch norm, dropout) and with augmentation; samples outside the coreset
            keep those of the last full epoch. The features and logits of every sample stay on the model's device, R
            (C + D) numbers each and as many again while selecting, and are part of `state_dict`.
        allocate: every epoch trains on the full data, and in coreset epochs only the coreset gets the strong attack:
            see `strong` and `perturb_allocated`. No epoch is skipped; with refresh="train" none is a refresh either,
            since all samples are observed in every epoch. Mini-batches of `batch_size` hold samples of the coreset or
            none, as long as there are enough, so that a batch costs one kind of attack.
        cool_down: see `Schedule`; by default that of the selector, which is 0 but for soft pruning.
        show_progress: draw progress bars on long passes.

    Attributes:
        dataset: emits (x, y, index).
        sampler, batch_sampler: for an ordinary DataLoader (one of the two). With granularity "batch" use
            `batch_sampler`.
        epochs: the epoch numbers that train.
        current: the current `Coreset`, or None before the first selection.
        history: one dict per selection: epoch, size, and the coreset's stats.

    Raises:
        ValueError, TypeError: an argument outside its range or of the wrong kind.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> data = TensorDataset(torch.rand(8, 1, 2, 2), torch.arange(8) % 2)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> coreset = AdversarialCoreset(model, data, lambda x, y: x, fraction=0.5, epochs=4, period=2, warm_start=0.5)
        >>> coreset.epochs
        [0, 2, 3]
    """

    def __init__(
        self,
        model: nn.Module,
        dataset: Any,
        objective: Any,
        selector: str | Selector = "craig",
        fraction: float = 0.5,
        *,
        epochs: int,
        period: int = 20,
        warm_start: float = 0.5,
        seed: int = 0,
        granularity: str = "class",
        batch_size: int = 128,
        selection_transform: Callable[[Any], Any] | None = None,
        selection_dataset: Any = None,
        num_workers: int = 0,
        head: nn.Module | str | None = None,
        features_fn: FeaturesFn | None = None,
        batch_adapter: BatchAdapter | None = None,
        backend: str = "auto",
        rank: int = 0,
        world_size: int = 1,
        report_error: bool = False,
        selection_objective: Any = None,
        warm_perturbations: bool = False,
        pool: float | None = None,
        refresh: str = "attack",
        allocate: bool = False,
        cool_down: float | None = None,
        show_progress: bool = True,
    ) -> None:
        self.model, self.objective = model, as_objective(objective)
        self.dataset = IndexedDataset(dataset)
        self.selector = make_selector(selector, granularity, check_count("batch_size", batch_size, 1), backend)
        self.refresh, self.allocate = check_choice("refresh", refresh, REFRESHES), allocate
        self._from_training = refresh == "train" and self.selector.needs_gradients
        cool_down = getattr(self.selector, "cool_down", 0.0) if cool_down is None else cool_down
        self.schedule = Schedule(epochs, period, warm_start, fraction, cool_down, self._from_training, allocate)
        self.pool = None if pool is None else check_number("pool", pool, low=1.0)
        self.seed = check_count("seed", seed)
        check_count("world_size", world_size, 1)
        if check_count("rank", rank) >= world_size:
            raise ValueError(f"rank must be below world_size, {world_size}; got {rank}")
        self.world_size = world_size
        self.batch_size, self.num_workers = batch_size, check_count("num_workers", num_workers)
        self.report_error, self.show_progress = report_error, show_progress
        self._adapt = batch_adapter or unpack
        self._view = selection_view(dataset, selection_dataset, selection_transform, self._adapt)
        self._labels = _checked_labels(stored_labels(self._view, self._adapt), self.selector, fraction)
        self._attacked_by = self.objective if selection_objective is None else as_objective(selection_objective)
        self._perturbations = SampleMemory() if warm_perturbations else None
        options: dict[str, Any] = {"head": head, "features_fn": features_fn, "batch_adapter": batch_adapter}
        self._attack_pass = AttackPass(
            model, self._view, self._attacked_by, {**options, "show_progress": show_progress},
            batch_size=self.batch_size, num_workers=self.num_workers, perturbations=self._perturbations,
            input_norms=getattr(self.selector, "needs_input_norms", False),
        )  # fmt: skip
        self._factors = FactorMemory(model, self.objective, head, self._first_batch) if self._from_training else None
        self._check_options(features_fn, selection_objective)
        self._plan = Plan(seed, batch_size, rank, world_size)
        self._weights = torch.ones(len(self.dataset))
        self._batches: list[Tensor] | None = None
        self._selected_epoch = self._prepared_epoch = -1
        self._chooser = Chooser(self.selector, len(self.dataset), fraction)
        self.sampler, self.batch_sampler = CoresetSampler(self._plan), CoresetBatchSampler(self._plan)
        self.current: Coreset | None = None
        self.history: list[dict[str, Any]] = []

    @property
    def epochs(self) -> list[int]:
        return self.schedule.training_epochs

    def step(self, epoch: int) -> Coreset | None:
        """Begin an epoch: select when the schedule says so, and point the samplers at what the epoch trains on.

        Calling it again for the same epoch changes nothing. In an epoch that the schedule skips the samplers are empty.

        Returns:
            The new coreset when one was selected, else None.

        Raises:
            ValueError: epoch is outside the schedule.
        """
        if check_count("epoch", epoch) >= self.schedule.epochs:
            raise ValueError(f"epoch must be below epochs, {self.schedule.epochs}; got {epoch}")
        kind = self.schedule.kind(epoch)
        selected = None
        if kind == "coreset" and epoch != self._selected_epoch and self._due(epoch):
            selected = self._select(epoch)
        self._begin(epoch, kind)
        return selected

    def observe(self, index: Tensor, y: Tensor) -> AbstractContextManager[None]:
        """Put around the forward pass of the training loss, so that refresh="train" can select from it.

        ::

            with coreset.observe(index, y):
                losses = objective.per_sample_loss(model, x, x_adv, y)

        With refresh="attack" it does nothing.

        Args:
            index: [B] sample numbers, as the dataset emits them.
            y: [B] labels.

        Raises:
            ValueError, TypeError: on leaving, when the model was not called, or its head gives no closed form.
        """
        return nullcontext() if self._factors is None else self._factors.observe(index, y)

    def remember(self, index: Tensor, x: Tensor, x_adv: Tensor) -> None:
        """Keep a training attack's result [B, ...] as where the next selection's attack begins.

        Without `warm_perturbations` it does nothing.
        """
        if self._perturbations is not None:
            self._perturbations.write(index, (x_adv - x).detach())

    def strong(self, index: Tensor) -> Tensor:
        """[B] bool on the device of `index`: which of these samples of an epoch get the strong attack.

        With `allocate` those of the coreset in coreset epochs; otherwise all.
        """
        chosen = self._allocated(self._plan.epoch)
        if chosen is None:
            return torch.ones(index.shape, dtype=torch.bool, device=index.device)
        return torch.isin(index, chosen.to(index.device))

    def weights(self, index: Tensor, normalize: str = "coreset") -> Tensor:
        """Weights of a batch, on the device of `index`.

        Args:
            index: [B] sample numbers, as the dataset emits them.
            normalize: "coreset" (mean 1 over the coreset; where a sampler's weights do not always have the same sum,
                mean 1 in expectation) or "none" (as selected). On full data all weights are 1.

        Raises:
            ValueError: an index that the current epoch does not train on.
        """
        check_choice("normalize", normalize, ("coreset", "none"))
        found = self._weights[index.cpu()]
        if bool(torch.isnan(found).any()):
            missing = index.cpu()[torch.isnan(found)][0]
            raise ValueError(
                f"index must come from this coreset's sampler; sample {int(missing)} is not part of epoch "
                f"{self._plan.epoch}"
            )
        coreset_epoch = self.schedule.kind(self._plan.epoch) == "coreset" and not self.allocate
        if normalize == "none" and self.current is not None and coreset_epoch:
            found = found * _unit_weight(self.current)
        return found.to(index.device)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs for the same picks and the same order; loads with weights_only=True."""
        current = self.current
        tensors = None if current is None else [current.indices, current.weights, current.gains]
        return {
            "config": self._config(),
            "epoch": self._plan.epoch,
            "selected_epoch": self._selected_epoch,
            "coreset": tensors,
            "stats": {} if current is None else copy.deepcopy(current.stats),
            "batches": self._batches,
            "history": copy.deepcopy(self.history),
            "objective": _state_of(self.objective),
            "selection_objective": {} if self._attacked_by is self.objective else _state_of(self._attacked_by),
            "prepared_epoch": self._prepared_epoch,
            "design": self._chooser.state(),
            "factors": None if self._factors is None else self._factors.state(),
            "perturbations": None if self._perturbations is None else self._perturbations.state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken.

        Raises:
            ValueError: the state is of a run with other settings or other data; names them.
        """
        missing = sorted(STATE - state.keys()) if isinstance(state, dict) else sorted(STATE)
        if missing:
            raise ValueError(f"state must be what state_dict() returned; it lacks {', '.join(missing)}")
        own, saved = self._config(), state["config"]
        different = [f"{k} (here {own[k]!r}, there {saved.get(k)!r})" for k in own if own[k] != saved.get(k)]
        if different:
            raise ValueError(f"state must be of a run with the same settings; these differ: {', '.join(different)}")
        current, batches = state["coreset"], state["batches"]
        if current is not None:  # on whatever device the checkpoint was loaded to
            indices, weights, gains = (t.cpu() for t in current)
            current = Coreset(indices, weights, gains, dict(state["stats"])).check(len(self.dataset))
        self.current, self._selected_epoch = current, state["selected_epoch"]
        self._batches = None if batches is None else [b.cpu() for b in batches]
        self.history = copy.deepcopy(state["history"])
        for own_objective, saved in ((self.objective, "objective"), (self._attacked_by, "selection_objective")):
            if state[saved] and hasattr(own_objective, "load_state_dict"):
                own_objective.load_state_dict(state[saved])
        self._prepared_epoch = state["prepared_epoch"]
        self._chooser.load(state["design"])
        if self._factors is not None:
            self._factors.load(state["factors"])
        if self._perturbations is not None:
            self._perturbations.load(state["perturbations"])
        if state["epoch"] >= 0:
            self._begin(state["epoch"], self.schedule.kind(state["epoch"]))

    def _config(self) -> dict[str, Any]:
        return {
            "samples": len(self.dataset), "objective": _described(self.objective),
            "selector": _described(self.selector), "epochs": self.schedule.epochs,
            "period": self.schedule.period, "warm_start": self.schedule.warm_start,
            "fraction": self.schedule.fraction, "seed": self.seed, "batch_size": self.batch_size,
            "selection_objective": _described(self._attacked_by), "pool": self.pool, "refresh": self.refresh,
            "warm_perturbations": self._perturbations is not None, "allocate": self.allocate,
            "cool_down": self.schedule.cool_down,
        }  # fmt: skip

    def _check_options(self, features_fn: FeaturesFn | None, selection_objective: Any) -> None:
        """What excludes what."""
        if self._perturbations is not None and not getattr(self._attacked_by, "takes_start", False):
            raise TypeError(
                "warm_perturbations needs a selection objective whose attack has a start, such as PGD or TRADES; got "
                f"{_described(self._attacked_by)}"
            )
        if self.world_size > 1 and (self._from_training or self._perturbations is not None):
            raise ValueError(
                "refresh='train' and warm_perturbations need world_size 1: a process sees only its share of the "
                f"samples, and the selections would differ; got {self.world_size}"
            )
        if self._from_training and (selection_objective is not None or self._perturbations is not None):
            raise ValueError(
                "selection_objective and warm_perturbations are for refresh='attack': with refresh='train' a selection "
                "attacks nothing"
            )
        if self._from_training and features_fn is not None:
            raise ValueError("refresh='train' reads the head while training, which features_fn replaces; give head")
        if self._from_training and self._attack_pass.input_norms:
            raise ValueError(
                "refresh='train' needs a selector that goes by the training passes; "
                f"{_described(self.selector)} needs gradients at the input"
            )
        if self.allocate and getattr(self.selector, "granularity", None) == "batch":
            raise ValueError("allocate needs granularity 'class' or 'global', since its epochs train on all data")

    def _first_batch(self) -> tuple[Tensor, Tensor]:
        """A few samples on the model's device."""
        device = next((p.device for p in self.model.parameters()), torch.device("cpu"))
        items = [self._adapt(self._view[i]) for i in range(min(2, len(self._view)))]
        x, y = (torch.stack([torch.as_tensor(item[part]) for item in items]) for part in (0, 1))
        return x.to(device), y.to(device)

    def _due(self, epoch: int) -> bool:
        return self.selector.redraws or self._selection_due(epoch, self.current is not None, self._selected_epoch)

    def _selection_due(self, epoch: int, there: bool, last: int) -> bool:
        """Whether an epoch needs a new selection, the latest one being that of epoch `last`."""
        if not there or last < self.schedule.first_coreset_epoch:
            return True
        fixed = getattr(self.selector, "fixed", not self.selector.needs_gradients)
        return not fixed and last < self.schedule.last_selection(epoch)

    def _begin(self, epoch: int, kind: str) -> None:
        n = len(self.dataset)
        if kind != "coreset" or self.current is None or self.allocate:
            self._weights = torch.ones(n)
            visited = torch.arange(0 if kind == "skipped" or self._unselected(kind) else n)
            self._plan.set(epoch, visited, apart=self._allocated(epoch))
            return
        self._weights = torch.full((n,), torch.nan)
        self._weights[self.current.indices] = self.current.weights / _unit_weight(self.current)
        self._plan.set(epoch, self.current.indices, self._batches)

    def _allocated(self, epoch: int) -> Tensor | None:
        """The samples that get the strong attack, in an epoch where others do not."""
        if not self.allocate or self.current is None or epoch < 0 or self.schedule.kind(epoch) != "coreset":
            return None
        return self.current.indices

    def _unselected(self, kind: str) -> bool:
        return kind == "coreset" and self.current is None

    def _select(self, epoch: int) -> Coreset:
        start, seed = time.perf_counter(), epoch_seed(self.seed, epoch)
        budget = max(1, int(self.schedule.fraction * len(self.dataset)))
        candidates, taken = Candidates.everyone(len(self.dataset)), None
        if self.selector.needs_gradients and not self._drawable(epoch):
            candidates = self._candidates(budget, seed)
            taken = self._take(candidates, seed)
        if taken is None:
            labels = self._all_labels() if self.selector.needs_labels else None
            choice = self._chooser.without_gradients(labels, seed)
        else:
            choice = self._chooser.among(candidates, taken, seed)
            choice, self._chooser.design = of_first_rank((choice, self._chooser.design), self.world_size)
            self._prepared_epoch = epoch
        coreset = choice.coreset
        if not len(coreset) or not float(coreset.weights.sum()) > 0.0:
            raise RuntimeError("the selection is empty or has zero weight: the gradients give nothing to match")
        seconds = {**({} if taken is None else taken.seconds), **coreset.stats["seconds"]}
        seconds["total"] = time.perf_counter() - start
        due = self.schedule.selection_due(epoch)
        if self.report_error and taken is None and self._chooser.design is None and due:
            taken = self._attacked(candidates, seed)
        if taken is not None:
            coreset.stats.update(self._chooser.measured(candidates, taken, coreset, seed, redraw=due))
            seconds["diagnostics"] = time.perf_counter() - start - seconds["total"]
        coreset.stats["seconds"] = seconds
        self.current, self._batches, self._selected_epoch = coreset, choice.batches, epoch
        self.history.append({"epoch": epoch, "size": len(coreset), **coreset.stats})
        logger.info("epoch %d: selected %d of %d in %.2f s", epoch, len(coreset), len(self.dataset), seconds["total"])
        return coreset

    def _drawable(self, epoch: int) -> bool:
        """Whether this epoch's coreset can be drawn from the design of an earlier selection."""
        if not isinstance(self.selector, Resampled):
            return False
        if self._from_training and self.selector.updates_for_free:
            return False
        return not self._selection_due(epoch, self._chooser.design is not None, self._prepared_epoch)

    def _candidates(self, budget: int, seed: int) -> Candidates:
        n = len(self.dataset)
        if self.pool is None:
            return Candidates.everyone(n)
        by_class = getattr(self.selector, "granularity", None) == "class"
        return Candidates.drawn(n, int(self.pool * budget), self._all_labels() if by_class else None, seed)

    def _take(self, candidates: Candidates, seed: int) -> Extraction:
        if self._factors is None:
            return self._attacked(candidates, seed)
        return self._factors.taken(candidates.members, self._all_labels()[candidates.members])

    def _attacked(self, candidates: Candidates, seed: int) -> Extraction:
        """An attack pass; ranks, whose objectives have used different random numbers, begin it with the same ones."""
        return self._attack_pass(candidates, seed if self.world_size > 1 else None)

    def _all_labels(self) -> Tensor:
        if self._labels is None:
            self._labels = labels_of(self._view, self._adapt).cpu()
        return self._labels


make_selector = selector  # the parameter of the same name hides it


def _state_of(objective: Any) -> dict[str, Any]:
    return objective.state_dict() if hasattr(objective, "state_dict") else {}


def _unit_weight(coreset: Coreset) -> Tensor:
    """The weight [] that counts as 1: the mean, or what the mean is in expectation where a sampler says so."""
    expected = coreset.stats.get("unit_weight")
    return coreset.weights.mean() if expected is None else torch.tensor(expected, dtype=coreset.weights.dtype)


def _described(thing: Any) -> str:
    """What an objective or a selector is, the same in every process."""
    own = dataclasses.is_dataclass(thing) or isinstance(thing, Objective)
    return repr(thing) if own else f"{type(thing).__module__}.{type(thing).__qualname__}"


def _checked_labels(labels: Tensor | None, chosen: Selector, fraction: float) -> Tensor | None:
    """Labels that are there anyway tell before the warm start whether every class can be represented."""
    if labels is None:
        return None
    labels = labels.cpu()
    classes, budget = len(labels.unique()), max(1, int(fraction * len(labels)))
    by_class = getattr(chosen, "granularity", None) == "class" or getattr(chosen, "stratified", False)
    if by_class and budget < classes:
        raise ValueError(
            f"fraction must leave at least one sample for each of the {classes} classes; {fraction:g} of {len(labels)} "
            f"samples is {budget}. Raise it, or use granularity='global'"
        )
    return labels
