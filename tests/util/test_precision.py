"""Products in full precision: also where the user has allowed TF32, and for gradients as for operators."""

import pytest
import torch

from acs_fast import LastLayerGradients
from acs_fast._util.precision import full_precision
from acs_fast.gradients import factored


@pytest.fixture
def tf32():
    settings = torch.backends.cuda.matmul
    before, settings.fp32_precision = settings.fp32_precision, "tf32"
    yield settings
    settings.fp32_precision = before


def test_tf32_is_off_within_and_back_afterwards(tf32):
    with full_precision("cuda"):
        assert tf32.fp32_precision == "ieee"
    assert tf32.fp32_precision == "tf32"


@pytest.mark.parametrize("method", ["gram", "dense", "squared_norms", "total"])
def test_products_of_gradients_ask_for_it(monkeypatch, method):
    asked = []
    monkeypatch.setattr(factored, "full_precision", lambda where: asked.append(where) or full_precision(where))
    getattr(LastLayerGradients(torch.randn(3, 2), torch.randn(3, 4)), method)()
    assert asked == ["cpu"]
