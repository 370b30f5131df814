from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .conftest import numbers

pytestmark = pytest.mark.framework


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_a_convolution_that_starts_as_the_identity_passes_its_input_on(layers: Any, groups: int) -> None:
    second = layers.convolution(6, 6, 3, padding=1, bias=False, groups=groups)
    layers.starts.start_as_identity(layers.Sequential(layers.convolution(1, 6, 3), second))
    images = numbers(2, 6, 5, 5)
    np.testing.assert_allclose(layers.array(second(layers.tensor(images))), images, atol=1e-6)


def test_filters_beyond_the_number_of_inputs_and_the_first_convolution_keep_their_start(layers: Any) -> None:
    first, second = layers.convolution(2, 3, 3), layers.convolution(3, 5, 3, padding=1, bias=False)
    before = [layers.array(layer.weight) for layer in (first, second)]
    layers.starts.start_as_identity(layers.Sequential(first, second))
    np.testing.assert_array_equal(layers.array(first.weight), before[0])
    np.testing.assert_array_equal(layers.array(second.weight)[3:], before[1][3:])
    images = numbers(2, 3, 5, 5)
    np.testing.assert_allclose(layers.array(second(layers.tensor(images)))[:, :3], images, atol=1e-6)


def test_a_convolution_with_fewer_outputs_than_inputs_passes_the_first_inputs_on(layers: Any) -> None:
    second = layers.convolution(4, 2, 1, bias=False)
    layers.starts.start_as_identity(layers.Sequential(layers.convolution(1, 4, 3), second))
    images = numbers(2, 4, 5, 5)
    np.testing.assert_allclose(layers.array(second(layers.tensor(images))), images[:, :2], atol=1e-6)


def test_each_dropout_layer_gets_the_chance(layers: Any) -> None:
    inner = layers.Sequential(layers.Linear(2, 2), layers.Dropout(0.1))
    network = layers.Sequential(layers.Dropout(0.5), inner)
    assert layers.starts.set_dropout(network, 0.3)
    assert [layer.p for layer in layers.modules(network) if isinstance(layer, layers.Dropout)] == [0.3, 0.3]


def test_a_network_without_dropout_says_so(layers: Any) -> None:
    assert not layers.starts.set_dropout(layers.Sequential(layers.Linear(2, 2)), 0.3)
