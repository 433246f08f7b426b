"""Problems as one argument of implementations and as four of their operators."""

import inspect

import pytest
import torch

from acs_fast.ops import checks, cpu, device, schemas
from acs_fast.ops.problems import Problems, flattened

IMPLEMENTATIONS = [
    *schemas.REFERENCE.items(),
    *checks.CHECKS.items(),
    *cpu.IMPLEMENTATIONS.items(),
    *((op, function) for op, by in device.IMPLEMENTATIONS.items() for function in by.values()),
]


@pytest.mark.parametrize(("op", "implementation"), IMPLEMENTATIONS)
def test_every_implementation_takes_the_arguments_of_the_schema(op, implementation):
    schema = getattr(torch.ops.acs_fast, op).default._schema
    own = [name for name in inspect.signature(flattened(implementation)).parameters if name != "backend"]
    assert len(own) == len(schema.arguments)
    assert own == [a.name for a in schema.arguments] or "matrix" in own


def test_parts_come_as_one():
    def solve(first: int, problems: Problems, last: int):
        return first, problems, last

    parts = torch.arange(3), torch.tensor([0, 3]), torch.tensor([2]), 2
    assert flattened(solve)(1, *parts, 5) == (1, Problems(*parts), 5)
    assert flattened(len) is len
