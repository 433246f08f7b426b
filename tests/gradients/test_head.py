"""Which layer is the head, and what its outputs go through."""

import pytest
import torch
from torch import nn

import acs_fast as acs


def test_get_classifier_is_used():
    class Timmish(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.fc = nn.Linear(4, 3), nn.Linear(3, 2)

        def get_classifier(self):
            return self.fc

        def forward(self, x):
            return self.fc(self.body(x).relu())

    g = acs.last_layer_gradients(Timmish(), [(torch.rand(3, 4), torch.tensor([0, 1, 1]))], acs.Vanilla())
    assert g.features.shape == (3, 1, 3)


def test_head_without_bias_and_scaled_output():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3, bias=False)

        def forward(self, x):
            return self.fc(x) / 0.5

    torch.manual_seed(0)
    model, x, y = Scaled(), torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1])
    with pytest.raises(ValueError, match=r"head was not found: .* Its linear layers: fc \(4 -> 3\)"):
        acs.last_layer_gradients(model, [(x, y)], acs.Vanilla())
    g = acs.last_layer_gradients(model, [(x, y)], acs.Vanilla(), head="fc")  # by autograd, since the output is scaled
    expected = 2.0 * (model(x).softmax(1) - nn.functional.one_hot(y, 3))
    torch.testing.assert_close(g.residuals[:, 0], expected)
    assert not g.bias


def test_logits_changed_in_place_are_noticed():
    class Tempered(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x):
            z = self.fc(input=x)
            z /= 4.0
            return z

    torch.manual_seed(0)
    model, x, y = Tempered(), torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1])
    with pytest.raises(ValueError, match="head was not found"):
        acs.last_layer_gradients(model, [(x, y)], acs.Vanilla())
    g = acs.last_layer_gradients(model, [(x, y)], acs.Vanilla(), head="fc")
    torch.testing.assert_close(g.residuals[:, 0], (model(x).softmax(1) - nn.functional.one_hot(y, 3)).detach() / 4.0)
