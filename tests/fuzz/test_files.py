"""What is read from files: whole, or an error that names the file. Bytes are lost and changed, entries are others."""

from __future__ import annotations

import io
import json
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import acs_fast as acs
from acs_fast.cli.arguments import read_settings
from acs_fast.training import RunConfig, checkpoint, load_data
from acs_fast.training.models import build, load_weights
from tests.fuzz import anything
from tests.fuzz.outcome import Refused, accepted, outcome

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 2**70), st.floats(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@st.composite
def damage(draw, whole: bytes) -> bytes:
    """Cut off, changed in places, or something else."""
    kind = draw(st.sampled_from(["cut", "changed", "zeros", "other", "doubled"]))
    if kind == "other":
        return draw(st.binary(max_size=200))
    if kind == "cut":
        return whole[: draw(st.integers(0, len(whole)))]
    if kind == "doubled":
        return whole + whole[: draw(st.integers(0, 100))]
    rng, bytes_ = random.Random(draw(st.integers(0, 2**32))), bytearray(whole)
    for _ in range(draw(st.integers(1, 20))):
        bytes_[rng.randrange(len(bytes_))] = 0 if kind == "zeros" else rng.randrange(256)
    return bytes(bytes_)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def trained() -> dict[str, object]:
    """What best.pt holds."""
    torch.manual_seed(0)
    model = build("small", (torch.zeros(1), torch.ones(1)), 3, 2)
    config = RunConfig(width=2, eps=0.1).as_dict()
    return {"model": model.state_dict(), "config": config, "epoch": 3, "shape": [1, 8, 8], "classes": 3}


TRAINED = trained()
CHECKPOINT = saved(TRAINED)
BIAS = nn.Linear(2, 3).state_dict()


@anything.FUZZED
@given(data=st.data())
def test_damaged_checkpoints_and_weights(folder, data):
    path = folder / "best.pt"
    path.write_bytes(data.draw(damage(CHECKPOINT)))
    found = outcome(acs.load, path)
    assert str(path) in found.message if isinstance(found, Refused) else isinstance(found, nn.Module)
    path.write_bytes(data.draw(damage(saved(BIAS))))
    outcome(load_weights, nn.Linear(2, 3), path)
    safetensors = pytest.importorskip("safetensors.torch")
    path = folder / "w.safetensors"
    path.write_bytes(data.draw(damage(safetensors.save(BIAS))))
    outcome(load_weights, nn.Linear(2, 3), path)


@anything.FUZZED
@given(data=st.data())
def test_checkpoints_of_others(folder, data):
    path, junk = folder / "other.pt", st.one_of(VALUES, anything.tensors(2, 3).map(anything.plain))
    state = {k: data.draw(junk) if data.draw(st.integers(0, 3)) == 0 else v for k, v in TRAINED.items()}
    name = data.draw(st.sampled_from(sorted(RunConfig().as_dict())))
    if isinstance(state["config"], dict):
        state["config"] = {**state["config"], name: data.draw(VALUES)}
    path.write_bytes(saved(state if data.draw(st.booleans()) else data.draw(junk)))
    found = outcome(acs.load, path)
    assert str(path) in found.message if isinstance(found, Refused) else isinstance(found, nn.Module)
    outcome(load_weights, nn.Linear(2, 3), path)


@anything.FUZZED
@given(data=st.data())
def test_settings(folder, data):
    path, known = folder / "job.json", sorted(RunConfig().as_dict())
    settings = {data.draw(st.sampled_from(known)): data.draw(VALUES) for _ in range(data.draw(st.integers(0, 2)))}
    whole = json.dumps({"config": settings, "seeds": 1, "methods": None}).encode()
    path.write_bytes(data.draw(st.one_of(st.just(whole), damage(whole))))
    outcome(checkpoint.read_json, path, {"config", "seeds"})
    found = outcome(read_settings, path, RunConfig)
    if not isinstance(found, Refused):
        assert isinstance(found, dict)
        outcome(RunConfig, **found)


@anything.FUZZED
@given(data=st.data())
def test_images(folder, data):
    n = data.draw(st.integers(1, 9))
    x = (255 * torch.rand(n, 4, 4)).to(torch.uint8).numpy()
    path, buffer = folder / "images.npz", io.BytesIO()
    np.savez(buffer, x=x, y=np.arange(n) % 2, **{"x_train": x} if data.draw(st.booleans()) else {})
    whole = buffer.getvalue()
    path.write_bytes(data.draw(st.one_of(st.just(whole), damage(whole))))
    outcome(load_data, str(path))
    arrays = {k: data.draw(anything.junk()) for k in ("x", "y")}
    arrays = {k: np.asarray(v.numpy() if torch.is_tensor(v) and v.dtype == torch.float32 and not v.is_meta and
                            v.layout == torch.strided else x) for k, v in arrays.items()}  # fmt: skip
    np.savez(path, **arrays)
    outcome(load_data, str(path))


@anything.FUZZED
@given(data=st.data())
def test_states(data):
    """States of a coreset with other things in them: refused, or loaded."""
    dataset = torch.utils.data.TensorDataset(torch.rand(9, 4), torch.arange(9) % 3)
    made = acs.AdversarialCoreset(nn.Linear(4, 3), dataset, acs.PGD(0.1, 0.1, 1, seed=0), "random", 0.5, epochs=3)
    accepted(made.step, made.epochs[0])
    state = made.state_dict()
    key = data.draw(st.sampled_from(sorted(state)))
    outcome(made.load_state_dict, {**state, key: data.draw(VALUES)} if data.draw(st.booleans()) else data.draw(VALUES))
