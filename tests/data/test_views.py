"""Labels without reading images; images that change between readings."""

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

from acs_fast.data import is_random, labels_of, stored_labels, unpack
from tests.gradients.test_attack_pass import Augmented


def test_labels_from_anywhere():
    x, y = torch.zeros(4, 1), torch.tensor([2, 0, 1, 2])
    tensors = TensorDataset(x, y)
    assert labels_of(tensors, unpack).tolist() == [2, 0, 1, 2]
    assert labels_of(Subset(tensors, [3, 1]), unpack).tolist() == [2, 0]
    assert labels_of(Augmented(4), unpack).tolist() == [0, 1, 2, 0]
    assert labels_of([{"image": 0, "label": i} for i in range(3)], unpack).tolist() == [0, 1, 2]


def test_labels_that_are_changed_on_the_way_are_read():
    class Shifted(Augmented):
        targets = (9, 9, 9, 9)  # as stored; samples carry others

        def target_transform(self, label):
            return label

    assert labels_of(Shifted(4), unpack).tolist() == [0, 1, 2, 0]
    tensors = TensorDataset(torch.zeros(3, 1), torch.tensor([2, 0, 1]))
    assert labels_of(tensors, lambda item: (item[0], 2 - item[1])).tolist() == [0, 2, 1]


def test_columns_are_read_without_their_images():
    datasets = pytest.importorskip("datasets")

    def broken(batch):
        raise AssertionError("images were decoded")

    table = datasets.Dataset.from_dict({"image": [[0.0], [1.0], [2.0]], "label": [2, 0, 1]}).with_transform(broken)
    assert stored_labels(table).tolist() == [2, 0, 1]


def test_random_images_are_noticed():
    assert is_random(Augmented(5))
    assert not is_random(TensorDataset(torch.full((3, 2), torch.nan), torch.zeros(3)))
    assert not is_random([(np.ones(2), 0)])
