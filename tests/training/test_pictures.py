"""Folders of pictures and Hugging Face datasets are read as they are asked for."""

import numpy as np
import pytest
import torch

from acs_fast.training.data import load, read
from acs_fast.training.files import DataError

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def picture(grey, mode="RGB", size=(6, 5)):
    return Image.new(mode, size, (grey, grey, grey) if mode == "RGB" else grey)


def write(folder, classes=("cat", "dog", "eel"), n=10, mode="RGB", suffix="png", size=(6, 5)):
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(n):
            picture(50 * label + i, mode, size).save(folder / name / f"{i:02d}.{suffix}")
    return folder


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_train_and_test_folders(tmp_path, test_name):
    write(tmp_path / "train")
    write(tmp_path / test_name, n=4)
    splits = load(str(tmp_path))
    assert (splits.classes, splits.train.shape, len(splits.test)) == (3, (3, 5, 6), 12)
    assert splits.train.class_names == splits.test.class_names == ("cat", "dog", "eel")
    assert len(splits.train) + len(splits.validation) == 30
    train = read(str(tmp_path)).train
    assert train.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    x, y = train[12]
    assert int(y) == 1
    torch.testing.assert_close(x, torch.full((3, 5, 6), 52 / 255))
    assert train.names([12])[0].endswith("dog/02.png")


def test_one_folder_is_divided(tmp_path):
    splits = load(str(write(tmp_path, mode="L")))
    assert splits.train.shape == (1, 5, 6)
    assert len(splits.test) == 6
    assert set(splits.test.labels.tolist()) == {0, 1, 2}


def test_other_sizes_and_modes_are_brought_to_one(tmp_path):
    write(tmp_path / "train")
    picture(10, "L", (20, 9)).save(tmp_path / "train" / "cat" / "zz.png")
    splits = load(str(tmp_path), image_size=4)
    assert splits.train.shape == (3, 4, 4)
    assert torch.cat([x for x, _ in splits.train.loader(7)]).shape[1:] == (3, 4, 4)


def test_pictures_are_not_held_in_memory(tmp_path):
    """What is on the disk when a picture is asked for counts."""
    train = read(str(write(tmp_path))).train
    before = train[0][0]
    picture(200).save(tmp_path / "cat" / "00.png")
    assert not torch.equal(train[0][0], before)


def test_workers_read_them(tmp_path):
    train = read(str(write(tmp_path))).train
    x, y = next(iter(train.loader(30, workers=1)))
    assert x.shape == (30, 3, 5, 6)
    assert torch.equal(y, train.labels)


def test_broken_and_foreign_files_are_named(tmp_path):
    write(tmp_path / "train")
    write(tmp_path / "test", classes=("cat", "newt"), n=2)
    with pytest.raises(DataError, match="has classes that the training folder lacks: newt"):
        load(str(tmp_path))
    path = tmp_path / "train" / "dog" / "03.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"dog/03\.png: cannot be read as a picture"):
        read(str(tmp_path / "train")).train.read([13])


@pytest.mark.parametrize("divided", [True, False])
def test_hugging_face_dataset_on_disk(tmp_path, divided):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")

    def table(n):
        pictures = [picture(20 * (i % 3) + i, "L") for i in range(n)]
        columns = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b", "c"])})
        return datasets.Dataset.from_dict({"image": pictures, "label": [i % 3 for i in range(n)]}, features=columns)

    both = datasets.DatasetDict({"train": table(30), "test": table(9)})
    (both if divided else both["train"]).save_to_disk(str(tmp_path / "saved"))
    splits = load(f"hf:{tmp_path / 'saved'}")
    assert (splits.classes, splits.train.shape) == (3, (1, 5, 6))
    assert splits.train.class_names == splits.test.class_names == ("a", "b", "c")
    assert len(splits.test) == (9 if divided else 6)
    x, y = read(f"hf:{tmp_path / 'saved'}").train[4]
    torch.testing.assert_close(x, torch.full((1, 5, 6), 24 / 255))
    assert int(y) == 1


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 3), (3, 5, 6)])
@pytest.mark.parametrize("kind", ["bytes", "floats"])
def test_hugging_face_columns_of_arrays(tmp_path, shape, kind):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    values = [np.full(shape, 100 + i) if kind == "bytes" else np.full(shape, (100 + i) / 255) for i in range(4)]
    table = datasets.Dataset.from_dict({"image": [v.tolist() for v in values], "label": [0, 1, 0, 1]})
    table.save_to_disk(str(tmp_path))
    x, y = read(f"hf:{tmp_path}").train[3]
    torch.testing.assert_close(x, torch.full((3 if len(shape) == 3 else 1, 5, 6), 103 / 255))
    assert int(y) == 1


def test_a_hugging_face_dataset_that_is_not_there(tmp_path):
    pytest.importorskip("datasets", reason="datasets is not installed")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"--data hf:.*cannot be loaded"):
        load(f"hf:{tmp_path / 'empty'}")
