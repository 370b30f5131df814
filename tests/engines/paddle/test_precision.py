"""bfloat16 on a CPU, for which Paddle has no kernels."""

from __future__ import annotations

import numpy as np
import pytest

import mlstack.models.paddle.quiet  # isort: skip  # noqa: F401

import paddle
from paddle import nn

from mlstack.engines.paddle.precision import autocast

pytestmark = pytest.mark.framework


def bfloat16(values: np.ndarray) -> np.ndarray:
    """float32 rounded to the nearest number with 8 significant bits, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
    return rounded.astype(np.uint32).view(np.float32)


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32)


def test_a_linear_layer_multiplies_rounded_numbers_and_rounds_the_result() -> None:
    layer = nn.Linear(5, 3)
    images = drawn(4, 5)
    with autocast("bf16"):
        answer = layer(paddle.to_tensor(images)).numpy()
    weight, bias = bfloat16(layer.weight.numpy()), bfloat16(layer.bias.numpy())
    np.testing.assert_allclose(answer, bfloat16(bfloat16(images) @ weight + bias), rtol=2**-7)
    np.testing.assert_array_equal(answer, bfloat16(answer))
    exact = layer(paddle.to_tensor(images)).numpy()
    assert not np.array_equal(answer, exact)
    np.testing.assert_allclose(answer, exact, atol=0.05)


def test_gradients_of_a_convolution_are_rounded_and_reach_weights_that_stay_in_float32() -> None:
    layer = nn.Conv2D(2, 3, 3)
    with autocast("bf16"):
        layer(paddle.to_tensor(drawn(2, 2, 6, 6))).square().sum().backward()
    gradient = layer.weight.grad.numpy()
    assert layer.weight.dtype == paddle.float32
    np.testing.assert_array_equal(gradient, bfloat16(gradient))
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("precision", ["32", "64"])
def test_other_precisions_change_nothing(precision: str) -> None:
    layer, images = nn.Linear(5, 3), paddle.to_tensor(drawn(4, 5))
    with autocast(precision):
        answer = layer(images).numpy()
    np.testing.assert_array_equal(answer, layer(images).numpy())


def test_afterwards_layers_compute_as_before_even_after_an_error() -> None:
    layer, images = nn.Linear(5, 3), paddle.to_tensor(drawn(4, 5))
    before = layer(images).numpy()
    with pytest.raises(ValueError, match="on purpose"), autocast("bf16"):
        raise ValueError("on purpose")
    np.testing.assert_array_equal(layer(images).numpy(), before)
