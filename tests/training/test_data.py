"""Data sources: what is read, and what is said about files and factories that cannot be."""

import gzip
import pickle
import struct

import numpy as np
import pytest
import torch

from acs_fast.training.data import load, read
from acs_fast.training.files import DataError, read_idx


def idx_bytes(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder, compress=False, drop=0):
    rng = np.random.default_rng(0)
    for split, n in (("train", 40), ("t10k", 20)):
        for kind, array in (
            ("images-idx3", rng.integers(0, 256, (n, 6, 5), dtype=np.uint8)),
            ("labels-idx1", (np.arange(n) % 4).astype(np.uint8)),
        ):
            raw = idx_bytes(array)[: -drop or None]
            path = folder / f"{split}-{kind}-ubyte{'.gz' if compress else ''}"
            path.write_bytes(gzip.compress(raw) if compress else raw)


def write_cifar(folder, classes=10):
    def batch(n):
        key = b"labels" if classes == 10 else b"fine_labels"
        return {b"data": np.zeros((n, 3072), np.uint8), key: [i % classes for i in range(n)]}

    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"] if classes == 10 else ["train", "test"]
    for name in names:
        (folder / name).write_bytes(pickle.dumps(batch(20)))
    file, key = ("batches.meta", b"label_names") if classes == 10 else ("meta", b"fine_label_names")
    (folder / file).write_bytes(pickle.dumps({key: [b"class %d" % i for i in range(classes)]}))


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


def test_digits():
    splits = load("digits")
    assert splits.classes == 10
    assert len(splits.train) + len(splits.validation) + len(splits.test) == 1797
    assert splits.train.shape == (1, 8, 8)
    assert float(splits.train.x.max()) == 1.0
    assert torch.equal(load("digits").train.x, splits.train.x)
    assert len(load("digits", limit=100).train) + len(load("digits", limit=100).validation) == 100


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_idx_folder(tmp_path, compress, nested):
    folder = tmp_path / "FashionMNIST" / "raw" if nested else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    write_idx(folder, compress)
    splits = load(str(tmp_path))
    assert (len(splits.train) + len(splits.validation), len(splits.test), splits.classes) == (40, 20, 4)
    assert splits.test.shape == (1, 6, 5)


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_folder(tmp_path, classes):
    write_cifar(tmp_path, classes)
    splits = load(str(tmp_path))
    assert (len(splits.test), splits.test.shape) == (20, (3, 32, 32))
    assert len(splits.train) + len(splits.validation) == (100 if classes == 10 else 20)
    assert splits.test.class_names[:2] == ("class 0", "class 1")


@pytest.mark.parametrize("layout", [(30, 8, 8), (30, 8, 8, 3), (30, 3, 8, 8)])
def test_npz(tmp_path, layout):
    path = tmp_path / "data.npz"
    x = np.random.default_rng(0).integers(0, 256, layout, dtype=np.uint8)
    np.savez(path, x=x, y=np.arange(30) % 3)
    splits = load(str(path))
    assert splits.train.shape == ((1, 8, 8) if len(layout) == 3 else (3, 8, 8))
    np.savez(path, x_train=x / 255.0, y_train=np.zeros(30), x_test=x[:5] / 255.0, y_test=np.zeros(5))
    assert len(load(str(path)).test) == 5


class Malicious:
    def __reduce__(self):
        return (print, ("executed",))


def broken(tmp_path, how):
    if how == "truncated idx":
        write_idx(tmp_path, drop=7)
    elif how == "truncated gz":
        write_idx(tmp_path, compress=True)
        path = tmp_path / "train-images-idx3-ubyte.gz"
        path.write_bytes(path.read_bytes()[:-40])
    elif how == "missing labels":
        write_idx(tmp_path)
        (tmp_path / "train-labels-idx1-ubyte").unlink()
    elif how == "truncated pickle":
        write_cifar(tmp_path)
        path = tmp_path / "data_batch_3"
        path.write_bytes(path.read_bytes()[:1000])
    elif how == "malicious pickle":
        write_cifar(tmp_path)
        (tmp_path / "data_batch_3").write_bytes(pickle.dumps(Malicious()))
    elif how == "other pickle":
        write_cifar(tmp_path)
        (tmp_path / "data_batch_3").write_bytes(pickle.dumps({b"data": [1]}))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated idx", r"train-images-idx3-ubyte: half-written\? Its header promises 1200 bytes of data, 1193"),
        ("truncated gz", r"train-images-idx3-ubyte.gz: cannot be read, it may be half-written"),
        ("missing labels", r"no train-labels file beside the others"),
        ("truncated pickle", r"data_batch_3: cannot be read as a CIFAR python batch"),
        ("malicious pickle", r"data_batch_3: .*refused to load builtins.print"),
        ("other pickle", r"data_batch_3: is no CIFAR python batch"),
        ("empty folder", r"holds neither IDX files .* nor CIFAR python batches"),
    ],
)
def test_unusable_folders_are_named(tmp_path, how, message, capsys):
    with pytest.raises(DataError, match=message):
        load(broken(tmp_path, how))
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(3)}, r"must hold x_train, y_train, x_test, y_test or x, y; got a"),
        ({"x": np.zeros((4, 2, 2)) - 1, "y": np.zeros(4)}, r"floats in \[0, 1\]; got \[-1, -1\]"),
        ({"x": np.zeros((4, 2)), "y": np.zeros(4)}, r"images must be \[N, height, width\]"),
        (
            {"x": np.zeros((4, 0, 2)), "y": np.zeros(4)},
            r"images must be \[N, height, width\].*got shape \[4, 1, 0, 2\]",
        ),
        ({"x": np.zeros((4, 2, 2)), "y": np.zeros(4) - 1}, r"integers from 0 to .*; got float64 such as"),
        ({"x": np.zeros((6, 2, 2)), "y": np.zeros((6, 3))}, r"one label for each of 6 images; got labels of shape"),
        ({"x": np.zeros((4, 2, 2)), "y": np.array(list("abcd"))}, r"labels must be integers from 0 to .*; got <U1"),
        ({"x": np.zeros((4, 2, 2)), "y": np.array([0.3, 1, 2, 3])}, r"labels must be integers"),
        ({"x": np.zeros((4, 2, 2)), "y": np.array([0, 1, 2, np.inf])}, r"labels must be integers"),
        ({"x": np.zeros((4, 2, 2)), "y": np.array([0, 1, 2, 1e300])}, r"labels must be integers"),
        ({"x": np.zeros((0, 2, 2)), "y": np.zeros(0)}, r"training set must hold at least one image"),
    ],
)
def test_unusable_npz_is_named(tmp_path, arrays, message):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message):
        load(str(path))


def test_half_written_npz_and_unknown_sources(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.zeros((9, 4, 4)), y=np.zeros(9))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"data.npz: cannot be read as .npz"):
        load(str(path))
    with pytest.raises(DataError, match="--data must be 'digits', a folder of IDX"):
        load(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="torchvision:Nothing"):
        load("torchvision:Nothing")
    (tmp_path / "x").write_bytes(b"hello, this is text")
    with pytest.raises(DataError, match="is no IDX file of unsigned bytes with 1 dimensions"):
        read_idx(tmp_path / "x", 1)


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
