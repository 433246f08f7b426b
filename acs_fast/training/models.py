"""Networks for the command line. Normalisation is their first layer: they take pixels in [0, 1]."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from acs_fast._util.checks import check_choice

MODELS = ("small", "resnet18")


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


def build(name: str, x: Tensor, classes: int, width: int | None = None) -> nn.Module:
    """A network for images like x [N, channels, height, width], normalised by their mean and deviation.

    Raises:
        ValueError: unknown name.
    """
    check_choice("model", name, MODELS)
    normalise = Normalise(x.mean((0, 2, 3)), x.std((0, 2, 3)).clamp_min(1e-3))
    if name == "small":
        return SmallCNN(x.shape[1], classes, 16 if width is None else width, normalise)
    return ResNet18(x.shape[1], classes, 64 if width is None else width, normalise)
