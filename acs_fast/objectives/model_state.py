"""Run a model without leaving a trace on it: training flags, batch-norm statistics, requires_grad and .grad."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from acs_fast._util.exchange import Exchange
from acs_fast._util.randomness import preserved_random_state


@contextmanager
def untouched(model: nn.Module, train: bool = False, keep_buffers: bool = False) -> Iterator[None]:
    """Inside: parameters take no gradients and the model is in eval mode (or train mode). Afterwards: all as before.

    In train mode, or when asked to for code that may switch to it, buffers (batch-norm statistics) are put back; in
    train mode also the random state that dropout draws from. Everything is restored also when the body raises.
    """
    flags = [(module, module.training) for module in model.modules()]
    wanted = [(p, p.requires_grad) for p in model.parameters()]
    buffers = [(b, b.clone()) for b in model.buffers()] if train or keep_buffers else []
    try:
        for module, _ in flags:  # not model.train(): user code may override it
            module.training = train
        for p, _ in wanted:
            p.requires_grad_(False)
        if train:
            with preserved_random_state():
                yield
        else:
            yield
    finally:
        for module, training in flags:
            module.training = training
        for p, required in wanted:
            p.requires_grad_(required)
        _set(buffers)


@contextmanager
def buffers_of_first(model: nn.Module, exchange: Exchange) -> Iterator[None]:
    """Inside, every process has the first one's buffers, such as batch-norm statistics; afterwards its own again."""
    own = [(b, b.clone()) for b in model.buffers()] if exchange.size > 1 else []
    first = exchange.from_first("reading the buffers", lambda: [value.cpu() for _, value in own])
    try:
        _set((buffer, value) for (buffer, _), value in zip(own, first, strict=True))
        yield
    finally:
        _set(own)


@torch.no_grad()
def _set(values: Iterable[tuple[Tensor, Tensor]]) -> None:
    for buffer, value in values:
        buffer.copy_(value)


def without_ddp(model: nn.Module) -> nn.Module:
    """The module inside DistributedDataParallel: the wrapper's forward pass waits for gradients of the weights."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside DataParallel, DistributedDataParallel and torch.compile wrappers."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def logits_in(output: Any) -> Any:
    """A model's output, or its `.logits` where it has some."""
    return getattr(output, "logits", output)


def logits_of(model: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    """The model's logits [B, C]; an output with a `.logits` attribute is understood.

    Raises:
        TypeError: the output is no tensor and has none.
        ValueError: the output is not [B, C].
    """
    out = logits_in(model(x))
    if not isinstance(out, Tensor):
        raise TypeError(f"model must return logits [B, C] or an object with .logits; got {type(out).__name__}")
    if out.dim() != 2 or out.shape[0] != x.shape[0]:
        raise ValueError(f"model must return logits [B, C] with B = {x.shape[0]}; got shape {list(out.shape)}")
    return out
