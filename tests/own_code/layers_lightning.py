"""Layers of PyTorch, and what tests do with them, behind the names that `layers_paddle.py` has too.

Tests that are to hold for the networks of every framework load the one or the other and look at NumPy arrays.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from mlstack.models.pytorch import (
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

Layer = nn.Module
Convolution = nn.Conv2d
BatchNorm = nn.BatchNorm2d
MaxPool = nn.MaxPool2d
Sequential, Linear, Identity, Flatten, ReLU, Dropout = (
    nn.Sequential,
    nn.Linear,
    nn.Identity,
    nn.Flatten,
    nn.ReLU,
    nn.Dropout,
)


def convolution(
    inputs: int, outputs: int, size: int, *, bias: bool = True, stride: int = 1, padding: int = 0, groups: int = 1
) -> nn.Module:
    return nn.Conv2d(inputs, outputs, size, bias=bias, stride=stride, padding=padding, groups=groups)


def seed(number: int) -> None:
    torch.manual_seed(number)


def tensor(values: ArrayLike) -> Tensor:
    """Of the array's own type."""
    return torch.tensor(np.asarray(values))


def array(values: Tensor) -> NDArray[Any]:
    return values.detach().numpy().copy()


def modules(network: nn.Module) -> list[nn.Module]:
    """All layers, the network itself among them."""
    return list(network.modules())


def parameters(network: nn.Module) -> dict[str, Tensor]:
    """All that belong to layers; running statistics are no parameters."""
    return dict(network.named_parameters())


def learns(parameter: Tensor) -> bool:
    return parameter.requires_grad


def gradients(network: nn.Module) -> dict[str, NDArray[Any] | None]:
    return {name: None if one.grad is None else array(one.grad) for name, one in network.named_parameters()}


def state(network: nn.Module) -> dict[str, NDArray[Any]]:
    """Copies of all that a checkpoint would hold."""
    return {name: array(value) for name, value in network.state_dict().items()}


def set_state(network: nn.Module, values: dict[str, NDArray[Any]]) -> None:
    network.load_state_dict({name: torch.tensor(value) for name, value in values.items()})


def statistics(network: nn.Module) -> dict[str, NDArray[Any]]:
    """The running means and variances of batch norms."""
    return {name: array(value) for name, value in network.named_buffers() if "running" in name}


def matrix(linear: nn.Module) -> NDArray[Any]:
    """A linear layer's weight, [out, in]."""
    return array(linear.weight)


def geometry(convolution: nn.Module) -> tuple[int, int]:
    """Side of the kernel, and stride."""
    return convolution.kernel_size[0], convolution.stride[0]


def input_channels(convolution: nn.Module) -> int:
    return int(convolution.in_channels)


def no_gradients() -> AbstractContextManager[Any]:
    return torch.no_grad()


def without_numbers() -> AbstractContextManager[Any]:
    """Where networks have shapes only, so that building and running them costs nothing; Paddle has no such place."""
    return torch.device("meta")


def follow_batches(network: nn.Module, share: float) -> None:
    """Let each batch make up such a share of batch norm's running statistics."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = share


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels)


def adam(network: nn.Module, rate: float) -> Any:
    """An optimizer of what learns; it has `step`."""
    return torch.optim.Adam([one for one in network.parameters() if one.requires_grad], lr=rate)


def clear_gradients(network: nn.Module) -> None:
    network.zero_grad()


def count_calls(layer: nn.Module, calls: list[int]) -> None:
    """Append to `calls` whenever the layer is called."""
    layer.register_forward_hook(lambda *_: calls.append(1))
