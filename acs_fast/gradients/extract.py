"""From a model, batches and an objective to factored last-layer gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.checks import check_finite, check_floating, check_labels
from acs_fast._util.dtypes import accumulable_dtype
from acs_fast._util.progress import progress
from acs_fast._util.randomness import derived_seed, preserved_random_state
from acs_fast._util.stopwatch import Stopwatch
from acs_fast.data.batches import BatchAdapter, images_and_labels, unpack
from acs_fast.gradients.factored import LastLayerGradients
from acs_fast.gradients.head import find_head, is_output, recorded
from acs_fast.gradients.source import Extraction
from acs_fast.objectives import Objective, as_objective
from acs_fast.objectives.model_state import untouched, unwrapped

FeaturesFn = Callable[[nn.Module, Tensor], tuple[Tensor, Tensor]]


def last_layer_gradients(
    model: nn.Module,
    batches: Iterable[Any],
    objective: Any,
    head: nn.Module | str | None = None,
    *,
    features_fn: FeaturesFn | None = None,
    batch_adapter: BatchAdapter | None = None,
    show_progress: bool = True,
) -> LastLayerGradients:
    """Per-sample gradients of the last linear layer at the adversarial examples of every batch.

    Attacks each batch through `objective.perturb`, then takes residuals and features with the model in eval mode. The
    model's training flags, batch-norm statistics and `.grad`, and the global random state are left as they were.

    Args:
        model: any module whose logits [B, C] come from an `nn.Linear`, also inside DataParallel,
            DistributedDataParallel or torch.compile; called on pixels in [0, 1], on the device and in the dtype of its
            parameters.
        batches: iterable of (x, y, ...) tuples or lists, or of dicts with usual names ("image", "label", ...).
        objective: an `Objective`; any object with `perturb(model, x, y)` and `per_sample_loss(model, x, x_adv, y)`,
            whose residuals then come from autograd at the logits; or a callable attack (x, y) -> x_adv, with
            cross-entropy at its result.
        head: the linear layer or its dotted name; found by itself where possible.
        features_fn: for models that fit none of this: (model, x) -> (features [B, D], logits [B, C]); the head is then
            taken to have a bias, and the objective must be an `Objective`.
        batch_adapter: turns a batch of any other form into (x, y).
        show_progress: draw a progress bar when it takes longer than a few seconds.

    Returns:
        N gradients in the order of the batches, on the model's device, float32 (float64 for a float64 model).

    Raises:
        ValueError: no batches, no head found, labels outside the logits, pixels outside [0, 1], or NaN or infinite
            gradients (names the samples).
        TypeError: batches of unknown form, or an objective that cannot be used.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        >>> x, y = torch.rand(5, 1, 2, 2), torch.tensor([0, 1, 2, 0, 1])
        >>> len(last_layer_gradients(model, [(x, y)], lambda x, y: x))
        5
    """
    return extract(
        model, batches, objective, head, features_fn=features_fn, batch_adapter=batch_adapter,
        show_progress=show_progress,
    ).gradients  # fmt: skip


def extract(
    model: nn.Module,
    batches: Iterable[Any],
    objective: Any,
    head: nn.Module | str | None = None,
    *,
    features_fn: FeaturesFn | None = None,
    batch_adapter: BatchAdapter | None = None,
    show_progress: bool = True,
    seed: int | None = None,
    numbers: Iterable[int] | None = None,
) -> Extraction:
    """`last_layer_gradients` with labels and timings; same arguments, and two more.

    Args:
        seed: of all that is random in the attacks, together with the number of the batch; by default the objective's
            own and the global random state.
        numbers: of the batches, by default 0, 1, 2, ...
    """
    objective = as_objective(objective)
    adapt = batch_adapter or unpack
    example = next(model.parameters(), torch.empty(0))
    inner = unwrapped(model)
    reader = (
        HeadReader(inner, objective, head) if features_fn is None else _FunctionReader(inner, objective, features_fn)
    )
    parts: list[tuple[Tensor, Tensor]] = []
    labels: list[Tensor] = []
    watch = Stopwatch(example.device)
    with preserved_random_state(), untouched(model, keep_buffers=True):
        shown = progress(batches, "gradients", enabled=show_progress)
        for batch, number in zip(shown, count() if numbers is None else numbers, strict=False):
            x, given = images_and_labels(batch, example, adapt)
            y = given.to(example.device, non_blocking=True)
            if not len(x):
                continue
            reader.prepare(x, given)
            with watch("attack"), _seeded(objective, None if seed is None else derived_seed("attack", seed, number)):
                x_adv = objective.perturb(model, x, y)
            with watch("factors"):
                parts.append(reader(x, x_adv.detach(), y))
            labels.append(y)
    if not parts:
        raise ValueError("batches must yield at least one sample; got none")
    residuals, features = (torch.cat(x) for x in zip(*parts, strict=True))
    check_labels(torch.cat(labels), residuals.shape[-1], len(residuals))
    check_finite("gradients", residuals, features)
    gradients = LastLayerGradients(residuals, features, reader.bias)
    return Extraction(gradients, torch.cat(labels), watch.seconds())


def _seeded(objective: Objective, seed: int | None) -> AbstractContextManager[None]:
    """Everything that attacks draw from, on one seed; the global random state is for the caller to put back."""
    if seed is None:
        return nullcontext()
    torch.manual_seed(seed)
    return objective.seeded(seed)


class HeadReader:
    """Residuals [B, R, C] and features [B, R, D] of a batch, read at the model's linear head."""

    def __init__(self, model: nn.Module, objective: Objective, head: nn.Module | str | None) -> None:
        self.model, self.objective, self.wanted = model, objective, head
        self.head: nn.Linear | None = None
        self.closed_form = False

    @property
    def bias(self) -> bool:
        return self.head is not None and self.head.bias is not None

    def prepare(self, x: Tensor, y: Tensor) -> None:
        """Before the attack: find the head on the first batch, and check the labels as they came."""
        head = self.find(x)
        if y.device.type == "cpu":  # elsewhere the check would wait for the device; all are checked at the end
            check_labels(y, head.out_features, len(x))

    def __call__(self, x: Tensor, x_adv: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Residuals and features."""
        head = self.find(x)
        with recorded(head, leaves=not self.closed_form) as passes:
            if self.closed_form:
                with torch.no_grad():
                    for view in self.objective.loss.views(x, x_adv):
                        self.model(view)
                return self.closed(tuple(passes.logits), passes.features, y)
            with torch.enable_grad():
                return _stacked(*passes.factors(self.objective.per_sample_loss(self.model, x, x_adv, y)))

    def closed(self, logits: tuple[Tensor, ...], features: list[Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
        """The same from the logits and features of earlier passes, in closed form."""
        return _stacked(self.objective.loss.residuals(logits, y), features)

    def find(self, x: Tensor) -> nn.Linear:
        """Find the head, once; a closed form holds only where its output is what the model returns, once a pass."""
        if self.head is not None:
            return self.head
        head = find_head(self.model, x, self.wanted)
        with recorded(head) as passes, torch.no_grad():
            out = self.model(x)
        if not passes.logits:
            raise ValueError("head must be used by the model's forward pass; it was not called")
        unchanged = len(passes.logits) == 1 and is_output(passes.logits[0], out)
        self.closed_form = unchanged and self.objective.closed_form
        self.head = head
        return head


class _FunctionReader:
    """Residuals and features through the user's `features_fn`."""

    bias = True

    def __init__(self, model: nn.Module, objective: Objective, features_fn: FeaturesFn) -> None:
        if not objective.closed_form:
            raise TypeError(
                "features_fn needs an objective whose loss alone says what a sample costs, since residuals come from "
                f"it; got {objective!r}"
            )
        self.model, self.objective, self.features_fn = model, objective, features_fn

    def prepare(self, x: Tensor, y: Tensor) -> None:
        """Before the attack: check the labels as they came."""
        if y.device.type == "cpu":  # elsewhere the check would wait for the device; all are checked at the end
            with torch.no_grad():
                check_labels(y, self.features_fn(self.model, x[:1])[1].shape[-1], len(x))

    def __call__(self, x: Tensor, x_adv: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            outputs = [self.features_fn(self.model, view) for view in self.objective.loss.views(x, x_adv)]
        return _stacked(self.objective.loss.residuals(tuple(z for _, z in outputs), y), [h for h, _ in outputs])


def _stacked(residuals: Tensor, features: list[Tensor]) -> tuple[Tensor, Tensor]:
    """[B, R, C] and [B, R, D] in one dtype, float32 or wider."""
    for h in features:
        check_floating("features", h)
        if h.dim() != 2 or h.shape[0] != residuals.shape[0]:
            raise ValueError(f"features must be [B, D], one row a sample; the head received {list(h.shape)}")
    h = torch.stack(features, 1)
    dtype = accumulable_dtype(torch.promote_types(residuals.dtype, h.dtype))
    return residuals.detach().to(dtype), h.detach().to(dtype)
