"""The module of the distances, where Triton is."""

import pytest

from tests.gpu.requirements import need_triton


@pytest.fixture
def triton_distances():
    need_triton()
    from acs_fast.ops.triton import distances

    return distances
