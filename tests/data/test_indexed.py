"""Data sets that number their samples."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from acs_fast.data import IndexedDataset


def test_index_is_added_to_every_form():
    data = TensorDataset(torch.arange(4.0), torch.arange(4))
    x, y, index = IndexedDataset(data)[2]
    assert (float(x), int(y), index) == (2.0, 2, 2)
    x, y, index = IndexedDataset(data)[[3, 1]]
    assert index.tolist() == y.tolist() == [3, 1]
    assert IndexedDataset([{"x": 1, "y": 0}])[0] == {"x": 1, "y": 0, "index": 0}
    assert [i for _, _, i in IndexedDataset(data).__getitems__([2, 0])] == [2, 0]


def test_batched_reads_are_passed_on():
    class Batched(TensorDataset):
        calls = 0

        def __getitems__(self, indices):
            self.calls += 1
            return [self[i] for i in indices]

    data = Batched(torch.arange(6.0), torch.arange(6))
    loader = DataLoader(IndexedDataset(data), batch_size=3)
    assert [index.tolist() for _, _, index in loader] == [[0, 1, 2], [3, 4, 5]]
    assert data.calls == 2


def test_bad_datasets_are_named():
    with pytest.raises(TypeError, match="dataset must be map-style"):
        IndexedDataset(iter([]))
    with pytest.raises(ValueError, match="dataset must hold at least one sample"):
        IndexedDataset([])
    with pytest.raises(TypeError, match="dataset must give"):
        IndexedDataset([3])[0]
