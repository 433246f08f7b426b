"""The gradients' sum: in slices, and no more than one of them kept."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from acs_fast import LastLayerGradients, facility_location
from acs_fast.selection.common import total


class Largest(TorchDispatchMode):
    """How many elements the largest result of any operator has."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            self.elements = max(self.elements, found.numel())
        return found


def test_total_is_the_weighted_sum_and_keeps_one_slice_s_at_a_time():
    torch.manual_seed(0)
    g = LastLayerGradients(torch.randn(96, 30), torch.randn(96, 40))
    weights = torch.rand(96)
    with Largest() as largest:
        found = total(g, weights, rows_at_once=8)
    torch.testing.assert_close(found, g.to(torch.float64).total(weights))
    assert largest.elements <= max(g.residuals.numel(), g.features.numel()), "more than the factors and one sum"
    assert total(g[:0]).shape == found.shape


@pytest.mark.parametrize(("classes", "width"), [(0, 3), (3, 0), (0, 0)])
def test_factors_without_elements_are_selected_from(classes, width):
    g = LastLayerGradients(torch.ones(4, 1, classes), torch.ones(4, 1, width))
    chosen = facility_location(g, 2)
    assert chosen.indices.tolist() == [0, 1]
    assert float(chosen.weights.sum()) == 4.0
