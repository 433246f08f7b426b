"""Memory format, compilation and precision of a model; results stay the same up to rounding."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T", nn.Module, Tensor)
logger = logging.getLogger("acs_fast")


@dataclass(frozen=True)
class Engine:
    """Switches for the passes of attack and training.

    Attributes:
        channels_last: keep images and convolution weights with the channels innermost, which convolutions prefer.
        compile: run the model through torch.compile; the first batches take a minute or so.
        amp: compute in bfloat16 where that is safe (autocast).
    """

    channels_last: bool = True
    compile: bool = False
    amp: bool = False

    def check(self, device: torch.device) -> None:
        """Raises RuntimeError where the device cannot do what was asked for."""
        if self.amp and not has_bfloat16(device):
            raise RuntimeError(f"--amp needs bfloat16 arithmetic, which {device} does not have: it would be slower")

    def suited(self, model: nn.Module, device: torch.device) -> Engine:
        """This engine, or one without channels_last where torch's convolutions of that format go wrong."""
        wrong = [name for name, m in model.named_modules() if device.type == "cpu" and breaks_channels_last(m)]
        if not self.channels_last or not wrong:
            return self
        logger.info("channels_last is off: torch corrupts memory in it with layers such as %s", wrong[0])
        return replace(self, channels_last=False)

    def laid_out(self, thing: T) -> T:
        """A module (in place) or a batch in the memory format; batches that are no images stay as they are."""
        if not self.channels_last or (isinstance(thing, Tensor) and thing.dim() != 4):
            return thing
        moved: Any = thing.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return moved  # type: ignore[no-any-return]

    def runnable(self, model: nn.Module) -> nn.Module:
        """The model to call: compiled, sharing its parameters with `model`, or `model` itself."""
        compiled: Any = torch.compile(model) if self.compile else model
        return compiled  # type: ignore[no-any-return]

    def precision(self, device: torch.device) -> AbstractContextManager[Any]:
        """To enter around each attack and each loss, one at a time: no cast weight then outlives its step."""
        return torch.autocast(device.type, torch.bfloat16) if self.amp else nullcontext()


def breaks_channels_last(module: nn.Module) -> bool:
    """Whether torch's CPU convolution writes outside its buffers for this layer in channels_last.

    Seen in torch 2.13 on processors without AVX-512: kernel 1, stride above 1, fewer than 8 input channels.
    """
    if not isinstance(module, nn.Conv2d):
        return False
    pointwise, strided = set(module.kernel_size) == {1}, max(module.stride) > 1
    return pointwise and strided and module.in_channels // module.groups < 8


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has units for bfloat16 products and does not imitate them."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, name, bool)() for name in probes)
