"""Labels without reading images."""

import pytest
import torch
from torch.utils.data import Subset, TensorDataset

from acs_fast.data import Labels, class_names_of, labels_of, stored_labels
from tests.helpers import Augmented


def test_labels_from_anywhere():
    x, y = torch.zeros(4, 1), torch.tensor([2, 0, 1, 2])
    tensors = TensorDataset(x, y)
    assert labels_of(tensors).tolist() == [2, 0, 1, 2]
    assert labels_of(Subset(tensors, [3, 1])).tolist() == [2, 0]
    assert labels_of(Augmented(4)).tolist() == [0, 1, 2, 0]
    assert labels_of([{"image": 0, "label": i} for i in range(3)]).tolist() == [0, 1, 2]


def test_labels_that_are_changed_on_the_way_are_read():
    class Shifted(Augmented):
        targets = (9, 9, 9, 9)  # as stored; samples carry others

        def target_transform(self, label):
            return label

    assert labels_of(Shifted(4)).tolist() == [0, 1, 2, 0]


def test_columns_are_read_without_their_images():
    datasets = pytest.importorskip("datasets")

    def broken(batch):
        raise AssertionError("images were decoded")

    table = datasets.Dataset.from_dict({"image": [[0.0], [1.0], [2.0]], "label": [2, 0, 1]}).with_transform(broken)
    assert stored_labels(table).tolist() == [2, 0, 1]


def test_names_of_classes_where_the_data_have_them():
    class Named(Augmented):
        classes = ("shirt", "boot")

    class Renumbered(Named):
        target_transform = staticmethod(lambda label: 1 - label)

    assert class_names_of(Named(4)) == class_names_of(Subset(Named(4), [3, 1])) == ("shirt", "boot")
    assert class_names_of(Renumbered(4)) == class_names_of(Augmented(4)) == ()
    assert class_names_of(type("Counted", (Augmented,), {"classes": 10})(4)) == ()


def test_labels_are_read_when_they_are_called_for():
    class Counted(list):
        reads = 0

        def __getitem__(self, i):
            self.reads += 1
            return super().__getitem__(i)

    data = Counted((torch.zeros(1), i % 3) for i in range(4))
    labels = Labels(data)
    assert data.reads == 0
    assert labels().tolist() == labels().tolist() == [0, 1, 2, 0]
    assert data.reads == 4
    assert Labels(data, given=[1, 1, 0, 0])().tolist() == [1, 1, 0, 0]
    assert data.reads == 4


@pytest.mark.parametrize("given", [[0, 1], [0.0, 1.0, 2.0, 0.0]])
def test_labels_of_another_number_or_kind_are_refused(given):
    with pytest.raises(ValueError, match="labels must be 4 integers"):
        Labels(Augmented(4), given)
