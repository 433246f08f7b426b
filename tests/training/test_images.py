"""Image sets: one by one, by batch, in parts; arrays and pictures of a given dataset."""

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from acs_fast.training.images import Given, Images


def images(n=20):
    x = torch.arange(n).float().view(n, 1, 1, 1).expand(n, 2, 3, 3) / n
    return Images(x.clone(), torch.arange(n) % 4)


def test_numbers_lists_and_parts():
    whole = images()
    x, y = whole[3]
    assert torch.equal(x, whole.x[3])
    assert int(y) == 3
    x, y = whole[[5, 2]]
    assert torch.equal(x, whole.x[[5, 2]])
    assert y.tolist() == [1, 2]
    for part in (whole.part(torch.tensor([7, 1, 4])), Given(whole, whole.labels, "own").part(torch.tensor([7, 1, 4]))):
        assert len(part) == 3
        assert torch.equal(part[[0, 2]][0], whole.x[[7, 4]])
        assert torch.equal(part.first(1)[0][0], whole.x[7])
    assert len(whole.part(whole.labels == 0)) == 5


def test_loader_gives_whole_batches_and_shares():
    whole = images()
    assert torch.equal(torch.cat([x for x, _ in whole.loader(6)]), whole.x)
    shares = [[len(y) for _, y in whole.loader(6, share=(r, 3))] for r in range(3)]
    assert shares == [[6, 2], [6], [6]]
    assert torch.equal(torch.cat([x for x, _ in whole.loader(6, workers=1)]), whole.x)


def test_statistics():
    x = torch.rand(50, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    mean, deviation = Images(x, torch.zeros(50, dtype=torch.long)).statistics()
    torch.testing.assert_close(mean, x.mean((0, 2, 3)))
    torch.testing.assert_close(deviation, x.std((0, 2, 3), correction=0))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3), (3, 2, 3), (2, 3, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64, np.float32])
def test_arrays_of_a_given_dataset(shape, dtype):
    whole = np.issubdtype(dtype, np.integer)
    data = [(np.full(shape, 51 if whole else 0.2, dtype=dtype), np.int64(1))]
    x, y = Given(data, torch.tensor([1]), "own")[0]
    torch.testing.assert_close(x, torch.full((3 if 3 in (shape[0], *shape[2:]) else 1, 2, 3), 0.2))
    assert int(y) == 1


def test_pictures_of_a_given_dataset():
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for mode, channels in (("RGB", 3), ("L", 1), ("P", 3)):
        given = Given([(image.new(mode, (3, 2)), 0)], torch.tensor([0]), "own")
        assert given.shape == (channels, 2, 3)


def test_bytes_and_floats_of_a_given_dataset():
    data = TensorDataset(torch.full((2, 1, 2, 2), 255, dtype=torch.uint8), torch.tensor([0, 1]))
    assert float(Given(data, torch.tensor([0, 1]), "own").read([0]).max()) == 1.0
