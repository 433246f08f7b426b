"""Arguments of any kind; checks that do not wait (what is asynchronous is imitated, and runs for real in tests/gpu)."""

import copy
import pickle

import numpy as np
import pytest
import torch

from acs_fast._util.checks import UnitIntervalCheck, as_tensor, check_choice, check_floating, check_integers


class Arriving:
    """Stands for a device event that is reached when told so."""

    def __init__(self, reached):
        self.reached = reached

    def query(self):
        return self.reached

    def synchronize(self):
        self.reached = True


class Asynchronous(UnitIntervalCheck):
    """Treats every tensor as one on a device whose results arrive when `arrived` says so."""

    def __init__(self):
        super().__init__()
        self.arrived, self.events = False, []

    def _is_asynchronous(self, x):
        return True

    def _sent(self, x):
        self.events.append(Arriving(self.arrived))
        return self.events[-1], torch.stack(torch.aminmax(x))


GOOD, BAD = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 1.5]])


@pytest.mark.parametrize("value", ["c", 3, None, np.empty((0, 0)), torch.zeros(3), ["a"]])
def test_a_choice_is_one_of_the_words(value):
    assert check_choice("kind", "a", ("a", "b")) == "a"
    with pytest.raises(ValueError, match="kind must be one of 'a', 'b'; got"):
        check_choice("kind", value, ("a", "b"))


def test_first_batch_and_batches_on_a_cpu_are_checked_at_once():
    for check in (Asynchronous(), UnitIntervalCheck()):
        with pytest.raises(ValueError, match=r"x must be pixels in \[0, 1\]; got values in \[0.5, 1.5\]\. eps"):
            check("x", BAD)
    check = UnitIntervalCheck()
    check("x", GOOD)
    with pytest.raises(ValueError, match=r"got values in \[0.5, 1.5\]"):
        check("x", BAD)


@pytest.mark.parametrize("bad", [BAD, -BAD, GOOD * torch.nan])
def test_later_batches_raise_when_their_extremes_arrive(bad):
    check = Asynchronous()
    check("x", GOOD)
    check("x", bad)  # under way
    check("x", GOOD)
    check.events[0].reached = True
    with pytest.raises(ValueError, match=r"x must be pixels in \[0, 1\].*in this batch or one of the last 8"):
        check("x", GOOD)
    check("x", GOOD)  # said once


def test_no_more_than_so_many_batches_are_under_way():
    check = Asynchronous()
    check("x", GOOD)
    check("x", BAD)
    for _ in range(UnitIntervalCheck.LATE - 1):
        check("x", GOOD)
    with pytest.raises(ValueError, match="in this batch or one of the last"):
        check("x", GOOD)


def test_copies_begin_anew():
    check = UnitIntervalCheck()
    for other in (copy.deepcopy(check), pickle.loads(pickle.dumps(check))):
        other("x", GOOD)


def test_arrays_of_any_strides_and_byte_order_are_taken():
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert as_tensor("x", rows[::-1]).tolist() == [[4.0, 5.0], [2.0, 3.0], [0.0, 1.0]]
    assert as_tensor("x", rows[:, ::2]).tolist() == [[0.0], [2.0], [4.0]]
    assert check_floating("x", rows.astype(">f4")).tolist() == rows.tolist()
    assert check_integers("x", np.array([2, 0], dtype=np.int16)).dtype == torch.int64


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1.0], "x must be a torch.Tensor or a NumPy array; got list"),
        (np.array(["a"]), "x must have a dtype that torch has too; got an array of <U1"),
        (torch.eye(2).to_sparse(), "x must be a dense tensor with values; got torch.sparse_coo"),
        (torch.ones(2, device="meta"), "x must be a dense tensor with values; got torch.strided on device meta"),
    ],
)
def test_what_is_no_dense_tensor_is_named(value, said):
    with pytest.raises(TypeError, match=said):
        as_tensor("x", value)


def test_numbers_of_samples_are_checked():
    with pytest.raises(TypeError, match=r"index must hold integers; got torch.bool"):
        check_integers("index", torch.tensor([True]))
    with pytest.raises(ValueError, match="index must have one dimension"):
        check_integers("index", torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"index must hold numbers in \[0, 3\); got -1"):
        check_integers("index", torch.tensor([2, -1]), 3)
