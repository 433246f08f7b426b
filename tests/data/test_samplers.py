"""Datasets that emit indices, samplers, transforms, labels."""

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from acs_fast.data.samplers import CoresetBatchSampler, CoresetSampler, IndexedDataset, Plan, labels_of, with_transform
from acs_fast.gradients.extract import unpack


class Augmented(Dataset):
    """Random at every reading, through `transform`, as image data sets are."""

    def __init__(self, n):
        self.n, self.transform, self.targets = n, lambda x: x + torch.rand(()), [i % 3 for i in range(n)]

    def __len__(self):
        return self.n

    def __getitem__(self, index):
        return self.transform(torch.full((1, 2, 2), index / 100)), self.targets[index]


def test_index_is_added_to_every_form():
    data = TensorDataset(torch.arange(4.0), torch.arange(4))
    x, y, index = IndexedDataset(data)[2]
    assert (float(x), int(y), index) == (2.0, 2, 2)
    x, y, index = IndexedDataset(data)[[3, 1]]
    assert index.tolist() == y.tolist() == [3, 1]
    assert IndexedDataset([{"x": 1, "y": 0}])[0] == {"x": 1, "y": 0, "index": 0}


def test_order_depends_on_seed_and_epoch_only():
    def order(seed, epoch):
        plan = Plan(seed, 4, 0, 1)
        plan.set(epoch, torch.arange(50) * 2)
        return list(CoresetSampler(plan))

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)
    assert sorted(order(0, 3)) == list(range(0, 100, 2))


@pytest.mark.parametrize("n", [1, 2, 10, 11])
def test_ranks_share_everything_evenly(n):
    shares = []
    for rank in range(3):
        plan = Plan(0, 4, rank, 3)
        plan.set(0, torch.arange(n))
        shares.append(list(CoresetSampler(plan)))
        assert len(shares[-1]) == len(CoresetSampler(plan))
        assert sum(map(len, CoresetBatchSampler(plan))) == len(shares[-1])
    assert {len(s) for s in shares} == {-(-n // 3)}
    assert set().union(*shares) == set(range(n))


def test_batches_stay_together():
    plan = Plan(0, 3, 0, 1)
    batches = [torch.tensor([4, 0, 7]), torch.tensor([1, 2, 9]), torch.tensor([5])]
    plan.set(0, torch.cat(batches), batches)
    assert sorted(CoresetBatchSampler(plan)) == [[1, 2, 9], [4, 0, 7], [5]]
    assert len(CoresetBatchSampler(plan)) == 3
    assert sorted(CoresetSampler(plan)) == [0, 1, 2, 4, 5, 7, 9]


def test_empty_plan_gives_nothing():
    plan = Plan(0, 3, 0, 1)
    plan.set(0, torch.arange(0))
    assert list(CoresetSampler(plan)) == list(CoresetBatchSampler(plan)) == []
    assert len(CoresetBatchSampler(plan)) == 0


def test_transform_is_replaced_in_a_copy():
    data = Augmented(5)
    fixed = with_transform(data, lambda x: x)
    nested = with_transform(Subset(data, [3, 4]), lambda x: x)
    assert torch.equal(fixed[2][0], fixed[2][0])
    assert float(nested[0][0].max()) == pytest.approx(0.03)
    assert not torch.equal(data[2][0], data[2][0])
    with pytest.raises(ValueError, match="pass selection_dataset"):
        with_transform(TensorDataset(torch.zeros(1)), lambda x: x)


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


def test_bad_datasets_are_named():
    with pytest.raises(TypeError, match="dataset must be map-style"):
        IndexedDataset(iter([]))
    with pytest.raises(ValueError, match="dataset must hold at least one sample"):
        IndexedDataset([])
    with pytest.raises(TypeError, match="dataset must give"):
        IndexedDataset([3])[0]


def test_ordinary_loader():
    plan = Plan(0, 4, 0, 1)
    plan.set(0, torch.tensor([5, 1, 3]))
    loader = DataLoader(IndexedDataset(Augmented(8)), batch_size=2, sampler=CoresetSampler(plan))
    seen = torch.cat([index for _, _, index in loader])
    assert sorted(seen.tolist()) == [1, 3, 5]
    assert len(loader) == 2
