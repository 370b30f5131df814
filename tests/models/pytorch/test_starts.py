from __future__ import annotations

import pytest
import torch
from torch import nn

from mlstack.models.pytorch.starts import set_dropout, start_as_identity

pytestmark = pytest.mark.framework


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_convolution_that_starts_as_the_identity_passes_its_input_on(groups: int) -> None:
    network = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3, padding=1, bias=False, groups=groups))
    start_as_identity(network)
    images = torch.randn(2, 6, 5, 5)
    torch.testing.assert_close(network[1](images), images)


def test_filters_beyond_the_number_of_inputs_and_the_first_convolution_keep_their_start() -> None:
    network = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 5, 3, padding=1, bias=False))
    first, second = (layer.weight.detach().clone() for layer in (network[0], network[1]))
    start_as_identity(network)
    assert network[0].weight.equal(first)
    assert network[1].weight[3:].equal(second[3:])
    images = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(network[1](images)[:, :3], images)


def test_a_convolution_with_fewer_outputs_than_inputs_passes_the_first_inputs_on() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 1, bias=False))
    start_as_identity(network)
    images = torch.randn(2, 4, 5, 5)
    torch.testing.assert_close(network[1](images), images[:, :2])


def test_each_dropout_layer_gets_the_chance() -> None:
    network = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)))
    assert set_dropout(network, 0.3)
    assert [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)] == [0.3, 0.3]


def test_a_network_without_dropout_says_so() -> None:
    assert not set_dropout(nn.Sequential(nn.Linear(2, 2)), 0.3)
