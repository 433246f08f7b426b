"""The last linear layer of a model: how to find it, its inputs and its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.dtypes import accumulable
from acs_fast.objectives.model_state import logits_in


@dataclass
class HeadPasses:
    """Inputs [B, D] and outputs [B, C] of each pass through the head, in order.

    With `leaves`, `logits` holds what was added to the outputs: zeros to differentiate by. `slopes` then holds the
    differentiable backward passes through the head, such as those of a penalty on the gradient at the input: the
    number of the forward pass, the gradient [B, C] that came to its output, and the zeros [B, D] that were added to
    the gradient that left through its input.
    """

    features: list[Tensor] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    slopes: list[tuple[int, Tensor, Tensor]] = field(default_factory=list)

    def factors(self, losses: Tensor) -> tuple[Tensor, list[Tensor]]:
        r"""The exact gradient of each loss with respect to the head, as residuals [B, R, C] and R features [B, D].

        A forward pass ``z = W h + b`` gives the term ``q (x) (h, 1)`` with ``q = dl/dz``. A backward pass that the
        loss depends on, ``W^T r``, gives ``r (x) (v, 0)`` with ``v`` the gradient of the loss at what left the head:
        no bias took part in it. The two are

        .. math:: (q - s r) \otimes (h, 1) + s r \otimes (h + v / s, 1)

        in which every feature ends in the same 1. The scale s makes v / s as long as h.

        Raises:
            ValueError: losses are not [B].
        """
        if losses.dim() != 1:
            raise ValueError(f"objective.per_sample_loss must return [B] losses; got shape {list(losses.shape)}")
        probes = [probe for _, _, probe in self.slopes]
        found = torch.autograd.grad(losses.sum(), [*self.logits, *probes], materialize_grads=True)
        found = tuple(accumulable(gradient) for gradient in found)
        residuals, features = list(found[: len(self.logits)]), list(self.features)
        for (number, r, _), v in zip(self.slopes, found[len(self.logits) :], strict=True):
            h, r = accumulable(self.features[number]), accumulable(r)
            scale = _length(v) / _length(h)
            scale = torch.where(torch.isfinite(scale) & (scale > 0), scale, 1.0)
            residuals[number] = residuals[number] - scale * r
            residuals.append(scale * r)
            features.append(h + v / scale)
        return torch.stack(residuals, 1), features


@contextmanager
def recorded(head: nn.Module, leaves: bool = False) -> Iterator[HeadPasses]:
    """Record every pass through `head`.

    Args:
        leaves: record what `HeadPasses.factors` needs, so that a loss can be differentiated at the head's outputs.
    """
    passes = HeadPasses()

    def before(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        h = args[0] if args else kwargs["input"]
        passes.features.append(h.detach())
        if not leaves or not h.requires_grad:
            return None
        h = h.view_as(h)  # another use of the same tensor has its own gradient
        h.register_hook(_probing(passes, len(passes.features) - 1))
        return ((h, *args[1:]), kwargs) if args else (args, {**kwargs, "input": h})

    def after(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if not leaves:
            passes.logits.append(output.clone())  # the model may go on with it in place
            return None
        passes.logits.append(torch.zeros_like(output).requires_grad_())
        differentiable = output.requires_grad
        output = output + passes.logits[-1]
        if differentiable:
            output.register_hook(_noting(passes, len(passes.logits) - 1))
        return output.clone()

    handles = [head.register_forward_pre_hook(before, with_kwargs=True), head.register_forward_hook(after)]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


def _noting(passes: HeadPasses, number: int) -> Callable[[Tensor], None]:
    """Notes the gradient that comes to the output of a pass, where the loss may depend on it."""

    def hook(gradient: Tensor) -> None:
        if torch.is_grad_enabled():  # a backward pass that is itself differentiable
            passes.slopes.append((number, gradient.detach(), torch.zeros(0)))

    return hook


def _probing(passes: HeadPasses, number: int) -> Callable[[Tensor], Tensor | None]:
    """Adds zeros to differentiate by to the gradient that leaves through the input of a pass."""

    def hook(gradient: Tensor) -> Tensor | None:
        if not torch.is_grad_enabled():
            return None
        probe = torch.zeros_like(gradient).requires_grad_()
        at = max(i for i, slope in enumerate(passes.slopes) if slope[0] == number)
        passes.slopes[at] = (number, passes.slopes[at][1], probe)
        return gradient + probe

    return hook


def _length(rows: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return norms


def find_head(model: nn.Module, x: Tensor, head: nn.Module | str | None = None) -> nn.Linear:
    """The linear layer behind the logits.

    Args:
        model: already unwrapped.
        x: [B, ...] a batch to try the model on.
        head: a module of the model, its dotted name, or None: `model.get_classifier()` where there is one that is
            linear, else the last `nn.Linear` whose output is the model's output.

    Raises:
        ValueError: no such layer, or none of the candidates (which the message names) gives the model's output.
        TypeError: the head is no `nn.Linear`.
    """
    if head is not None:
        return _given(model, head)
    calls: list[tuple[nn.Linear, Tensor]] = []
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    handles = [m.register_forward_hook(lambda module, _, out: calls.append((module, out.clone()))) for m in linears]
    try:
        with torch.no_grad():
            out = model(x)
    finally:
        for handle in handles:
            handle.remove()
    matches = [module for module, output in calls if is_output(output, out)]
    get_classifier = getattr(model, "get_classifier", None)
    classifier = get_classifier() if callable(get_classifier) else None
    if matches:
        return next((module for module in matches if module is classifier), matches[-1])
    raise ValueError(
        "head was not found: no nn.Linear of the model has the model's output as its output. "
        f"{_candidates(model)} Pass head=, or features_fn= for a model whose logits come from something else"
    )


def is_output(head_output: Tensor, model_output: Any) -> bool:
    """Whether the model's output is the head's output, unchanged.

    NaN equals NaN: what is wrong with the values is said where samples can be named.
    """
    out = logits_in(model_output)
    if not isinstance(out, Tensor) or out.shape != head_output.shape:
        return False
    return bool(((out == head_output) | (out.isnan() & head_output.isnan())).all())


def _given(model: nn.Module, head: nn.Module | str) -> nn.Linear:
    if isinstance(head, str):
        try:
            found = model.get_submodule(head.removeprefix("module.").removeprefix("_orig_mod."))
        except AttributeError:
            raise ValueError(f"head must name a module of the model; got {head!r}. {_candidates(model)}") from None
    else:
        found = head
        if not any(module is head for module in model.modules()):
            raise ValueError(f"head must be a module of the model; this {type(head).__name__} is not part of it")
    if not isinstance(found, nn.Linear):
        raise TypeError(f"head must be an nn.Linear; got {type(found).__name__}. {_candidates(model)}")
    return found


def _candidates(model: nn.Module) -> str:
    names = [f"{name or '(the model itself)'} ({m.in_features} -> {m.out_features})"
             for name, m in model.named_modules() if isinstance(m, nn.Linear)]  # fmt: skip
    return f"Its linear layers: {', '.join(names)}." if names else "It has no linear layer."
