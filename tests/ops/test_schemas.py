"""The dispatcher's view of the operators, and what torch.compile makes of them."""

import pytest
import torch

from acs_fast.ops import schemas
from acs_fast.testing import require_backend
from tests.ops.arguments import arguments
from tests.ops.cases import random


@pytest.mark.parametrize("op", schemas.SCHEMAS)
def test_opcheck(op):
    torch.library.opcheck(getattr(torch.ops.acs_fast, op).default, arguments(op))


@pytest.mark.parametrize("op", schemas.SCHEMAS)
def test_compiles_as_one_graph(op):
    function = torch.compile(lambda *a: getattr(torch.ops.acs_fast, op)(*a), fullgraph=True, backend="aot_eager")
    got, expected = function(*arguments(op)), getattr(torch.ops.acs_fast, op)(*arguments(op))
    for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (got, expected)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("op", schemas.SCHEMAS)
def test_requires_grad_is_no_obstacle(op):
    def tracked(x):
        return x.clone().requires_grad_() if isinstance(x, torch.Tensor) and x.is_floating_point() else x

    call = getattr(torch.ops.acs_fast, op)
    got, expected = call(*map(tracked, arguments(op))), call(*arguments(op))
    for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (got, expected)), strict=True):
        assert torch.equal(a, b)


def test_not_finite_factors_do_no_harm():
    require_backend("cpu")
    for value in (torch.nan, torch.inf, -torch.inf):
        bad = random(33, 4, 9)
        bad.features[7, 0, 2] = value
        for op in schemas.SCHEMAS:
            try:
                getattr(torch.ops.acs_fast, op)(*arguments(op, bad))
            except ValueError:
                assert op == "greedy"
