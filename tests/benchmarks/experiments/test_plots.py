"""The plots of the experiments."""

import pytest

from benchmarks.experiments import plots
from tests.benchmarks.experiments.tiny import made


@pytest.mark.parametrize(("positions", "ticks"), [((1.0, 2.0), ["1", "2"]), ((1.0, 1.0), ["craig", "short"])])
def test_variants_at_one_position_stand_beside_each_other(positions, ticks):
    pytest.importorskip("matplotlib")
    found = made(g={"craig": ([0.6] * 3, 10.0), "short": ([0.5] * 3, 10.0)})
    for record in found.runs:
        record.x = dict(zip(("craig", "short"), positions, strict=True)).get(record.label)
    _, lower = plots._panels(found).axes
    assert [label.get_text() for label in lower.get_xticklabels()] == ticks
