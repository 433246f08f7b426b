"""The model of a command: from `acs-fast train`, or anybody's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from acs_fast._util.options import option
from acs_fast.cli.arguments import DeviceOptions
from acs_fast.training import SPECS, ImageSet, Restored, build, restore


@dataclass(frozen=True)
class ModelOptions(DeviceOptions):
    """A trained run, or a model and its weights."""

    model: str | None = option(
        None, f"{SPECS}; also needed beside a run that trained a model of your own", group="model", metavar="SPEC",
        shown="that of the run",
    )  # fmt: skip
    weights: str | None = option(
        None, "a state dict (.pt, .safetensors), or 'pretrained' for timm", group="model", metavar="FILE",
        shown="those of the run",
    )  # fmt: skip
    width: int | None = option(None, "channels of the first layer of small and resnet18", group="model", metavar="N",
                               shown="as in acs-fast train")  # fmt: skip

    def restored(self, path: Path | None, device: torch.device) -> Restored | None:
        """The run at a path; None where --model and --weights stand for themselves.

        Raises:
            ValueError: neither a run nor a model, or both.
        """
        if path is None:
            if self.model is None:
                raise ValueError("name a run (CHECKPOINT), or a model by --model and its --weights")
            return None
        if self.weights is not None:
            raise ValueError(f"--weights goes with --model alone; {path} has weights of its own")
        return restore(path, device, self.model)

    def built(self, images: ImageSet, classes: int, device: torch.device) -> nn.Module:
        """The model of --model and --weights for images like these, in eval mode."""
        model = build(self.model or "", images.statistics(), classes, self.width, self.weights)
        return model.to(device).eval()
