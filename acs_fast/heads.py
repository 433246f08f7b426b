"""Find a model's last linear layer, and read what goes into and comes out of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside DataParallel, DistributedDataParallel and torch.compile wrappers."""
    while True:
        if isinstance(model, WRAPPERS):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


@dataclass
class HeadPasses:
    """Inputs [B, D] and outputs [B, C] of each pass through the head, in order."""

    features: list[Tensor] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)

    def clear(self) -> None:
        self.features.clear()
        self.logits.clear()


@contextmanager
def recorded(head: nn.Module, leaves: bool = False) -> Iterator[HeadPasses]:
    """Record every pass through `head`.

    Args:
        leaves: let the model go on with logits that are leaves of the autograd graph, so that a loss can be
            differentiated at the logits and no further.
    """
    passes = HeadPasses()

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        passes.features.append(args[0].detach())

    def after(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if leaves:
            output = output.detach().requires_grad_()
        passes.logits.append(output)
        return output if leaves else None

    handles = [head.register_forward_pre_hook(before), head.register_forward_hook(after)]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


def find_head(model: nn.Module, x: Tensor, head: nn.Module | str | None = None) -> nn.Linear:
    """The linear layer that the logits come from.

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
    classifier = getattr(model, "get_classifier", None)
    found = classifier() if callable(classifier) else None
    return found if isinstance(found, nn.Linear) else _last_linear(model, x)


def is_output(head_output: Tensor, model_output: Any) -> bool:
    """Whether the model's output is the head's output, unchanged."""
    out = getattr(model_output, "logits", model_output)
    return isinstance(out, Tensor) and out.shape == head_output.shape and torch.equal(out, head_output)


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


def _last_linear(model: nn.Module, x: Tensor) -> nn.Linear:
    calls: list[tuple[nn.Linear, Tensor]] = []
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    handles = [m.register_forward_hook(lambda module, _, output: calls.append((module, output))) for m in linears]
    try:
        with torch.no_grad():
            out = model(x)
    finally:
        for handle in handles:
            handle.remove()
    for module, output in reversed(calls):
        if is_output(output, out):
            return module
    raise ValueError(
        "head was not found: no nn.Linear of the model has the model's output as its output. "
        f"{_candidates(model)} Pass head=, or features_fn= for a model whose logits come from something else"
    )


def _candidates(model: nn.Module) -> str:
    names = [f"{name or '(the model itself)'} ({m.in_features} -> {m.out_features})"
             for name, m in model.named_modules() if isinstance(m, nn.Linear)]  # fmt: skip
    return f"Its linear layers: {', '.join(names)}." if names else "It has no linear layer."
