"""Layers of Paddle, and what tests do with them, behind the names that `layers_lightning.py` has too.

Tests that are to hold for the networks of every framework load the one or the other and look at NumPy arrays.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from mlstack.models.paddle import (
    Classifier,
    build_classifier,
    cost,
    memory,
    narrowing,
    sparsity,
    starts,
    surgery,
    whiten,
    whitening,
)

# isort: split
import numpy as np
import paddle
from numpy.typing import ArrayLike, NDArray
from paddle import Tensor, nn

__all__ = [
    "Classifier",
    "build_classifier",
    "cost",
    "memory",
    "narrowing",
    "sparsity",
    "starts",
    "surgery",
    "whiten",
    "whitening",
]

Layer = nn.Layer
Convolution = nn.Conv2D
BatchNorm = nn.BatchNorm2D
MaxPool = nn.MaxPool2D
Sequential, Linear, Identity, Flatten, ReLU, Dropout = (
    nn.Sequential,
    nn.Linear,
    nn.Identity,
    nn.Flatten,
    nn.ReLU,
    nn.Dropout,
)
STATISTICS = ("_mean", "_variance")


def convolution(
    inputs: int, outputs: int, size: int, *, bias: bool = True, stride: int = 1, padding: int = 0, groups: int = 1
) -> nn.Layer:
    with_bias = None if bias else False
    return nn.Conv2D(inputs, outputs, size, bias_attr=with_bias, stride=stride, padding=padding, groups=groups)


def seed(number: int) -> None:
    paddle.seed(number)


def tensor(values: ArrayLike) -> Tensor:
    """Of the array's own type."""
    return paddle.to_tensor(np.asarray(values))


def array(values: Tensor) -> NDArray[Any]:
    return np.array(values.detach().numpy())


def modules(network: nn.Layer) -> list[nn.Layer]:
    """All layers, the network itself among them."""
    return list(network.sublayers(include_self=True))


def parameters(network: nn.Layer) -> dict[str, Tensor]:
    """All that belong to layers; running statistics are no parameters."""
    return {name: one for name, one in network.named_parameters() if not name.endswith(STATISTICS)}


def learns(parameter: Tensor) -> bool:
    return not parameter.stop_gradient


def gradients(network: nn.Layer) -> dict[str, NDArray[Any] | None]:
    return {name: None if one.grad is None else array(one.grad) for name, one in parameters(network).items()}


def state(network: nn.Layer) -> dict[str, NDArray[Any]]:
    """Copies of all that a checkpoint would hold."""
    return {name: array(value) for name, value in network.state_dict().items()}


def set_state(network: nn.Layer, values: dict[str, NDArray[Any]]) -> None:
    missing, unexpected = network.set_state_dict(values)
    assert not missing and all(name.endswith("num_batches_tracked") for name in unexpected)


def statistics(network: nn.Layer) -> dict[str, NDArray[Any]]:
    """The running means and variances of batch norms."""
    return {name: value for name, value in state(network).items() if name.endswith(STATISTICS)}


def matrix(linear: nn.Layer) -> NDArray[Any]:
    """A linear layer's weight, [out, in]."""
    return array(linear.weight).T


def geometry(convolution: nn.Layer) -> tuple[int, int]:
    """Side of the kernel, and stride."""
    return convolution._kernel_size[0], convolution._stride[0]


def input_channels(convolution: nn.Layer) -> int:
    return int(convolution._in_channels)


def no_gradients() -> AbstractContextManager[Any]:
    context: AbstractContextManager[Any] = paddle.no_grad()
    return context


def without_numbers() -> AbstractContextManager[Any]:
    """PyTorch has a place for networks without numbers; here they are built as ever."""
    return nullcontext()


def follow_batches(network: nn.Layer, share: float) -> None:
    """Let each batch make up such a share of batch norm's running statistics."""
    for layer in network.sublayers(include_self=True):
        if isinstance(layer, nn.BatchNorm2D):
            layer._momentum = 1 - share


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels)


def adam(network: nn.Layer, rate: float) -> Any:
    """An optimizer of what learns; it has `step`."""
    return paddle.optimizer.Adam(rate, parameters=[one for one in network.parameters() if not one.stop_gradient])


def clear_gradients(network: nn.Layer) -> None:
    network.clear_gradients()


def count_calls(layer: nn.Layer, calls: list[int]) -> None:
    """Append to `calls` whenever the layer is called."""
    layer.register_forward_post_hook(lambda *_: calls.append(1))
