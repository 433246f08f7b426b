"""What a call reports."""

import pytest

import acs_fast
from acs_fast.testing import require_backend
from tests.ops.arguments import FACTORS


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_seconds_by_stage(backend):
    require_backend(backend)
    g = acs_fast.LastLayerGradients(FACTORS.residuals, FACTORS.features)
    seconds = acs_fast.facility_location(g, 5, backend=backend).stats["seconds"]
    assert {"distances", "greedy", "select", "error"} <= set(seconds)
    seconds = acs_fast.gradient_matching(g, 5, backend=backend).stats["seconds"]
    assert {"refit", "select", "error"} < set(seconds)
    assert {"correlations", "columns", "screening"} & set(seconds)
