"""Image sets: one by one, by batch, in parts; the user's own data."""

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from acs_fast.training.data import load, read
from acs_fast.training.files import DataError
from acs_fast.training.images import Given, Images

OWN = """
import torch
from torch.utils.data import TensorDataset
def both():
    x = torch.rand(30, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x[:20], torch.arange(20) % 3), TensorDataset(x[20:], torch.arange(10) % 3)
def one():
    return both()[0]
def named():
    train, test = both()
    return {"train": train, "test": test}
def wrong():
    return 3
def flat():
    return TensorDataset(torch.rand(4, 9), torch.zeros(4, dtype=torch.long))
"""


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


@pytest.mark.parametrize("name", ["both", "named", "one"])
def test_a_factory_of_ones_own(tmp_path, name):
    (tmp_path / "own.py").write_text(OWN)
    splits = load(f"{tmp_path / 'own.py'}:{name}")
    train, test = (17, 3) if name == "one" else (20, 10)  # a fifth of each class is held out
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (train, test)
    assert splits.classes == 3
    assert read(f"{tmp_path / 'own.py'}:{name}").train.labels.tolist() == [i % 3 for i in range(20)]


def test_a_module_in_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "own_data_module.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load("own_data_module:both").train.shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "has no function or class nothing"),
        ("wrong", r"must return map-style datasets \(train, test\); got int"),
        ("flat", r"images must be tensors \[channels, height, width\]; got shape \[9\]"),
    ],
)
def test_unusable_factories_are_named(tmp_path, name, message):
    (tmp_path / "own.py").write_text(OWN)
    with pytest.raises(DataError, match=message):
        load(f"{tmp_path / 'own.py'}:{name}")


def test_modules_that_fail_are_named(tmp_path):
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(DataError, match=r"bad\.py cannot be imported \(ZeroDivisionError"):
        load(f"{tmp_path / 'bad.py'}:data")
    with pytest.raises(DataError, match="no_such_module_here cannot be imported"):
        load("no_such_module_here:data")


def test_sorted_data_is_mixed_before_the_first_images_are_taken(tmp_path):
    x = np.zeros((60, 4, 4), np.uint8)
    np.savez(tmp_path / "sorted.npz", x_train=x, y_train=np.arange(60) // 20, x_test=x, y_test=np.arange(60) // 20)
    splits = load(str(tmp_path / "sorted.npz"))
    assert set(splits.test.first(15).labels.tolist()) == {0, 1, 2}
    assert torch.equal(splits.test.labels, load(str(tmp_path / "sorted.npz")).test.labels)


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
