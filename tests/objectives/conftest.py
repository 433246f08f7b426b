"""A small model in float64 and a batch of images for it."""

import pytest
import torch

from tests.helpers import ConvNet, images


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ConvNet().double().eval()


@pytest.fixture
def batch():
    x, y = images(8)
    return x.double(), y
