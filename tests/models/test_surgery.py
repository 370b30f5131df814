from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlstack.errors import ConfigError

from .conftest import numbers

pytestmark = pytest.mark.framework


@pytest.mark.parametrize("bias", [True, False])
def test_a_grey_image_looks_to_the_fitted_network_like_its_colour_copy_to_the_original(layers: Any, bias: bool) -> None:
    network = layers.Sequential(layers.convolution(3, 5, 3, stride=2, padding=1, bias=bias), layers.ReLU())
    grey = numbers(2, 1, 8, 8)
    expected = layers.array(network(layers.tensor(grey.repeat(3, axis=1))))
    sums = layers.array(network[0].weight).sum(axis=1)
    layers.surgery.fit_input_channels(network, 1)
    assert tuple(network[0].weight.shape) == (5, 1, 3, 3)
    np.testing.assert_allclose(layers.array(network[0].weight).sum(axis=1), sums, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layers.array(network(layers.tensor(grey))), expected, rtol=1e-4, atol=1e-5)


def test_three_channels_leave_the_network_alone(layers: Any) -> None:
    network = layers.Sequential(layers.convolution(3, 5, 3))
    before = layers.array(network[0].weight)
    layers.surgery.fit_input_channels(network, 3)
    np.testing.assert_array_equal(layers.array(network[0].weight), before)


def test_a_network_without_a_first_convolution_is_refused(layers: Any) -> None:
    with pytest.raises(ConfigError, match="no first convolution that could take 1 channels"):
        layers.surgery.fit_input_channels(layers.Sequential(layers.Linear(3, 3)), 1)


def test_the_head_is_the_last_linear_layer(layers: Any) -> None:
    inner = layers.Sequential(layers.ReLU(), layers.Linear(6, 2))
    network = layers.Sequential(layers.Linear(4, 6), inner)
    assert layers.surgery.take_head(network) == 6
    assert tuple(network(layers.tensor(numbers(1, 4))).shape) == (1, 6)


def test_a_network_without_a_linear_layer_has_no_head(layers: Any) -> None:
    assert layers.surgery.take_head(layers.Sequential(layers.ReLU())) is None
