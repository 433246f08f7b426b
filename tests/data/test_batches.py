"""Batches and samples of any form: images that change between readings."""

import numpy as np
import torch
from torch.utils.data import TensorDataset

from acs_fast.data import is_random
from tests.helpers import Augmented


def test_random_images_are_noticed():
    assert is_random(Augmented(5))
    assert not is_random(TensorDataset(torch.full((3, 2), torch.nan), torch.zeros(3)))
    assert not is_random([(np.ones(2), 0)])
