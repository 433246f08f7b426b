"""Networks by name: our own, those of timm, and a user's. All take pixels in [0, 1]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from acs_fast._util.checks import check_count
from acs_fast.training import checkpoint
from acs_fast.training.checkpoint import CheckpointError
from acs_fast.training.files import DataError
from acs_fast.training.objects import call_with, find_object, names_object

SPECS = "small, resnet18, timm:NAME or module:factory"
PRETRAINED = "pretrained"
LEAST_DEVIATION = 1e-3
PREFIXES = ("module.", "_orig_mod.", "model.")  # of wrappers around the model that was saved


class Normalise(nn.Module):
    """(x - mean) / std with one mean and one std per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("std", std.view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        scaled: Tensor = (x - self.mean) / self.std
        return scaled


class SmallCNN(nn.Sequential):
    """Three convolutions and two linear layers: enough for digits and clothes, fast on a CPU."""

    def __init__(self, channels: int, classes: int, width: int, normalise: Normalise) -> None:
        super().__init__(
            normalise,
            nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(),
            nn.Linear(32 * width, 8 * width), nn.ReLU(),
            nn.Linear(8 * width, classes),
        )  # fmt: skip


class Block(nn.Module):
    """Two convolutions and a shortcut, activation first."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.norm1(x))
        around = x if self.shortcut is None else self.shortcut(a)
        out: Tensor = around + self.conv2(F.relu(self.norm2(self.conv1(a))))
        return out


class ResNet18(nn.Module):
    """An 18-layer residual network for small images (no pooling at the entrance).

    Source: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016.
    """

    def __init__(self, channels: int, classes: int, width: int, normalise: Normalise) -> None:
        super().__init__()
        self.normalise, self.entrance = normalise, nn.Conv2d(channels, width, 3, padding=1, bias=False)
        blocks, inputs = [], width
        for stage in range(4):
            for i in range(2):
                outputs = width << stage
                blocks.append(Block(inputs, outputs, 2 if stage and not i else 1))
                inputs = outputs
        self.blocks, self.norm, self.fc = nn.Sequential(*blocks), nn.BatchNorm2d(inputs), nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(self.blocks(self.entrance(self.normalise(x)))))
        logits: Tensor = self.fc(h.mean((2, 3)))
        return logits


class Normalised(nn.Module):
    """Another network behind `Normalise`."""

    def __init__(self, normalise: Normalise, network: nn.Module) -> None:
        super().__init__()
        self.normalise, self.network = normalise, network

    def forward(self, x: Tensor) -> Any:
        return self.network(self.normalise(x))


def build(
    spec: str,
    statistics: tuple[Tensor, Tensor],
    classes: int,
    width: int | None = None,
    weights: str | None = None,
) -> nn.Module:
    """A network for images with these statistics.

    Args:
        spec: "small" or "resnet18"; "timm:NAME"; or "module:factory" (also "file.py:factory"), called with those of
            num_classes, in_channels, classes, channels and width that it takes. Its model takes pixels in [0, 1].
        statistics: mean and deviation [channels] of the pixels, by which ours and those of timm are normalised.
        classes: number of logits.
        width: channels of the first layer, of "small" (16) and "resnet18" (64).
        weights: a file with a state dict, or "pretrained" for timm's own. A timm network is then normalised as timm
            says in place of by the data, unless the file holds our normalising layer too.

    Raises:
        DataError: an unknown network, or one that cannot be made.
        CheckpointError: weights that cannot be read or do not fit.
    """
    mean, deviation = statistics
    if width is not None:
        check_count("--width", width, low=1)
    normalise = Normalise(mean, deviation.clamp_min(LEAST_DEVIATION))
    if spec == "small":
        model: nn.Module = SmallCNN(len(mean), classes, width or 16, normalise)
    elif spec == "resnet18":
        model = ResNet18(len(mean), classes, width or 64, normalise)
    elif spec.startswith("timm:"):
        model = _timm(spec.removeprefix("timm:"), normalise, classes, weights)
    elif names_object(spec):
        model = _made(spec, len(mean), classes, width)
    else:
        raise DataError(f"--model must be {SPECS}; got {spec!r}")
    if weights == PRETRAINED and not spec.startswith("timm:"):
        raise DataError(f"--weights {PRETRAINED} goes with --model timm:NAME; got {spec}")
    if weights is not None and weights != PRETRAINED:
        load_weights(model, Path(weights).expanduser())
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict, also one inside a checkpoint, of a wrapped model, or without our normalising layer.

    Raises:
        CheckpointError: missing, unreadable, no weights, or not those of this model.
    """
    weights = _plain(_state_dict(path))
    targets = [model, model.network] if isinstance(model, Normalised) else [model]
    reason = ""
    for target in targets:
        try:
            target.load_state_dict(weights)
        except RuntimeError as error:
            reason = reason or " ".join(str(error).split())[:200]
        else:
            return
    raise CheckpointError(f"{path}: its weights do not fit the model ({reason})")


def _state_dict(path: Path) -> Any:
    if path.suffix == ".safetensors":
        try:
            from safetensors.torch import load_file
        except ImportError:
            raise CheckpointError(f"{path}: needs the package safetensors: pip install safetensors") from None
        try:
            return load_file(path)
        except FileNotFoundError:
            raise CheckpointError(f"{path}: there is no such file") from None
        except Exception as error:  # safetensors and the system have errors of many kinds
            raise CheckpointError(f"{path}: cannot be read as safetensors ({error})") from error
    state = checkpoint.read(path)
    if isinstance(state, dict):
        state = next((state[k] for k in ("model", "state_dict") if isinstance(state.get(k), dict)), state)
    named = isinstance(state, dict) and all(isinstance(w, Tensor) for w in state.values())
    if not named or not state:
        raise CheckpointError(f"{path}: holds no weights of a model")
    return state


def _plain(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names without what wrappers put before all of them."""
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): w for name, w in weights.items()}
    return weights


def _timm(name: str, normalise: Normalise, classes: int, weights: str | None) -> nn.Module:
    """A network of timm; with weights that exist it is normalised as timm says, not by the data."""
    try:
        import timm
    except Exception as error:  # a timm beside a torchvision of another torch build fails in many ways
        advice = f"pip install timm torchvision (a torchvision made for torch {torch.__version__})"
        raise DataError(f"--model timm:{name} needs timm, which cannot be imported ({error}): {advice}") from None
    channels = normalise.mean.numel()
    try:
        network = timm.create_model(name, pretrained=weights == PRETRAINED, num_classes=classes, in_chans=channels)
    except Exception as error:  # unknown names, networks that are not there to download from
        raise DataError(f"--model timm:{name}: cannot be made ({error})") from error
    if weights is not None and channels == 3:
        usual: Any = network.pretrained_cfg
        normalise = Normalise(*(torch.tensor(usual[key]) for key in ("mean", "std")))
    return Normalised(normalise, network)


def _made(spec: str, channels: int, classes: int, width: int | None) -> nn.Module:
    known = {"num_classes": classes, "classes": classes, "in_channels": channels, "channels": channels}
    factory = find_object(spec, "--model")
    try:
        model = call_with(factory, **known, **({} if width is None else {"width": width}))
    except Exception as error:  # a user's factory may raise anything
        offered = f"{', '.join(known)} and width"
        raise DataError(f"--model {spec}: cannot be made ({error!r}); it may take {offered}") from error
    if not isinstance(model, nn.Module):
        raise DataError(f"--model {spec}: must return a torch.nn.Module; got {type(model).__name__}")
    return model
