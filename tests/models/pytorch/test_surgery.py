from __future__ import annotations

import pytest
import torch
from torch import nn

from mlstack.errors import ConfigError
from mlstack.models.pytorch.surgery import fit_input_channels, take_head

pytestmark = pytest.mark.framework


@pytest.mark.parametrize("bias", [True, False])
def test_a_grey_image_looks_to_the_fitted_network_like_its_colour_copy_to_the_original(bias: bool) -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3, stride=2, padding=1, bias=bias), nn.ReLU())
    grey = torch.rand(2, 1, 8, 8)
    expected = network(grey.expand(-1, 3, -1, -1))
    sums = network[0].weight.sum(dim=1)
    fit_input_channels(network, 1)
    assert network[0].weight.shape == (5, 1, 3, 3)
    torch.testing.assert_close(network[0].weight.sum(dim=1), sums)
    torch.testing.assert_close(network(grey), expected)


def test_three_channels_leave_the_network_alone() -> None:
    network = nn.Sequential(nn.Conv2d(3, 5, 3))
    before = network[0]
    fit_input_channels(network, 3)
    assert network[0] is before


def test_a_network_without_a_first_convolution_is_refused() -> None:
    with pytest.raises(ConfigError, match="no first convolution that could take 1 channels"):
        fit_input_channels(nn.Sequential(nn.Linear(3, 3)), 1)


def test_the_head_is_the_last_linear_layer() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.ReLU(), nn.Linear(6, 2)))
    assert take_head(network) == 6
    assert network(torch.zeros(1, 4)).shape == (1, 6)


def test_a_network_without_a_linear_layer_has_no_head() -> None:
    assert take_head(nn.Sequential(nn.ReLU())) is None
