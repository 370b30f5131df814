"""Tensors, networks, optimizers and losses of the Paddle engine behind the names that `arithmetic_lightning.py` has.

Tests that are to hold with every engine load the one or the other and look at NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import mlstack.models.paddle  # noqa: F401  it imports paddle quietly

# isort: split
import numpy as np
import paddle
from numpy.typing import ArrayLike, NDArray
from paddle import Tensor, nn

from mlstack.config import ModelConfig
from mlstack.engines.paddle import averaging, losses, muon, optimizers

build_loss = losses.build_loss
WeightAverage = averaging.WeightAverage

# What the layers of `Mixed` call their parameters in this framework.
ATTENTION = {f"attention.{name}_proj.weight" for name in ("q", "k", "v", "out")}
SLOPE = "slope._weight"


def tensor(values: ArrayLike, dtype: str | None = None, *, learns: bool = False) -> Tensor:
    """float32 from floats and int64 from whole numbers, unless told otherwise."""
    found = np.asarray(values)
    default = "int64" if found.dtype.kind in "iu" else "float32"
    made = paddle.to_tensor(found).astype(dtype or default)
    made.stop_gradient = not learns
    return made


def array(tensor: Tensor) -> NDArray[Any]:
    exact = tensor.detach().astype("float32") if tensor.dtype == paddle.bfloat16 else tensor.detach()
    return np.asarray(exact.numpy())


def copied(tensor: Tensor) -> NDArray[Any]:
    """As it comes out of a checkpoint."""
    return array(tensor)


def dtype_of(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("paddle.")


def parameter(values: ArrayLike, dtype: str = "float32") -> Tensor:
    found = np.asarray(values, dtype=dtype)
    start = nn.initializer.Assign(found)
    return paddle.create_parameter(list(found.shape), dtype, default_initializer=start)


def gradient(tensor: Tensor) -> NDArray[Any] | None:
    return None if tensor.grad is None else array(tensor.grad)


def set_gradient(tensor: Tensor, values: ArrayLike) -> None:
    tensor.clear_gradient(False)
    tensor.grad = paddle.to_tensor(np.broadcast_to(values, tensor.shape).astype(dtype_of(tensor)))


def set_value(tensor: Tensor, values: ArrayLike) -> None:
    tensor.set_value(np.ascontiguousarray(values, dtype=dtype_of(tensor)))


class Optimizer:
    """What `build_optimizer` makes."""

    def __init__(self, config: ModelConfig, network: nn.Layer, scale: float = 1.0) -> None:
        self.own = optimizers.build_optimizer(config, network, scale=scale)
        self.names = {id(parameter): name for name, parameter in network.named_parameters()}

    def step(self) -> None:
        self.own.step()

    def clear_grad(self) -> None:
        self.own.clear_grad()

    def set_factor(self, factor: float) -> None:
        self.own.set_factor(factor)

    @property
    def rate(self) -> float:
        return self.own.rate

    @property
    def groups(self) -> dict[str, set[str]]:
        """The names of the parameters of each group."""
        groups = self.own.groups
        return {group["name"]: {self.names[id(parameter)] for parameter in group["params"]} for group in groups}

    @property
    def rates(self) -> dict[str, float]:
        rates = {id(owned): inner.get_lr() for inner in self.own.inner for owned in inner._parameter_list}
        return {group["name"]: rates[id(group["params"][0])] for group in self.own.groups}

    @property
    def decays(self) -> dict[str, float]:
        return {group["name"]: group["weight_decay"] for group in self.own.groups}

    def l1_penalty(self) -> Tensor:
        return losses.l1_penalty(self.own.shrunk)

    def saved(self) -> dict[str, NDArray[Any]]:
        """Its state, as it goes into a checkpoint."""
        return {name: tensor.numpy().copy() for name, tensor in self.own.state_dict().items()}

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        self.own.load_state_dict(saved)


def muon_of(parameters: Sequence[Tensor], **arguments: Any) -> muon.Muon:
    """Muon over matrices alone. Arguments: `learning_rate`, `weight_decay` and Muon's own."""
    return muon.Muon(list(parameters), **arguments)


def set_rate(optimizer: muon.Muon, rate: float) -> None:
    optimizer.set_lr(rate)


def orthogonalize(matrices: NDArray[Any], *, steps: int = 5) -> NDArray[Any]:
    return array(muon.orthogonalize(paddle.to_tensor(matrices), steps=steps))


def _made(shape: Sequence[int], value: float) -> Tensor:
    return paddle.create_parameter(list(shape), "float32", default_initializer=nn.initializer.Constant(value))


class Weight(nn.Layer):
    """A single weight of 0.5, as a matrix (`weight`) or as a vector (`bias`)."""

    def __init__(self, name: str = "weight") -> None:
        super().__init__()
        shape = (1, 1) if name == "weight" else (1,)
        self.add_parameter(name, _made(shape, 0.5))


class Mixed(nn.Layer):
    """Every kind of parameter: layers, norms of one and of three dimensions, a slope, a scale, a token, a table."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2D(3, 8, 3)
        self.batch_norm = nn.BatchNorm2D(8)
        self.layer_norm = nn.LayerNorm([8, 6, 6])
        self.slope = nn.PReLU(8)
        self.scale = _made((8, 1, 1), 1.0)
        self.token = _made((1, 1, 8), 0.0)
        self.positions = _made((1, 36, 8), 0.0)
        self.position_bias = _made((36, 8), 0.0)
        self.words = nn.Embedding(5, 8)
        self.attention = nn.MultiHeadAttention(8, 2)
        self.hidden = nn.Conv2D(8, 8, 3)
        self.head = nn.Linear(8, 1)


def layered(dtype: str = "float32") -> nn.Layer:
    """From [batch, 1, 6, 6] to [batch, 3], with every kind of layer that learns differently."""
    network = nn.Sequential(
        nn.Conv2D(1, 8, 3, bias_attr=False),  # a bias would drown in the batch norm
        nn.BatchNorm2D(8),
        nn.ReLU(),
        nn.Conv2D(8, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
    )
    return network.to(dtype=dtype)


def linear(inputs: int, outputs: int) -> nn.Layer:
    return nn.Linear(inputs, outputs)


def sequential(*layers: nn.Layer) -> nn.Layer:
    return nn.Sequential(*layers)


def freeze(network: nn.Layer) -> nn.Layer:
    for parameter in network.parameters():
        parameter.stop_gradient = True
    return network


def with_buffer_for_weight(layer: nn.Layer) -> nn.Layer:
    """The layer with its weight as a buffer."""
    values = layer.weight.detach()
    del layer.weight
    layer.register_buffer("weight", values)
    return layer


def convolution(inputs: int, outputs: int, size: int) -> nn.Layer:
    return nn.Conv2D(inputs, outputs, size)


def batch_norm(channels: int) -> nn.Layer:
    return nn.BatchNorm1D(channels)


def parameters(network: nn.Layer) -> dict[str, Tensor]:
    """Those that learn, by name."""
    return {name: parameter for name, parameter in network.named_parameters() if not parameter.stop_gradient}


def weights(network: nn.Layer) -> dict[str, NDArray[Any]]:
    """Of the parameters that learn; those of linear layers are [out, in], the other way round than in Paddle."""
    return {name: _turned(array(parameter)) for name, parameter in parameters(network).items()}


def gradients(network: nn.Layer) -> dict[str, NDArray[Any]]:
    """Of the parameters that have one; turned as in `weights`."""
    have = {name: parameter for name, parameter in parameters(network).items() if parameter.grad is not None}
    return {name: _turned(array(parameter.grad)) for name, parameter in have.items()}


def set_weights(network: nn.Layer, values: Mapping[str, NDArray[Any]]) -> None:
    for name, own in parameters(network).items():
        set_value(own, _turned(values[name]))


def set_gradients(network: nn.Layer, values: Mapping[str, NDArray[Any]]) -> None:
    for name, value in values.items():
        set_gradient(parameters(network)[name], _turned(value))


def _turned(values: NDArray[Any]) -> NDArray[Any]:
    return values.T if values.ndim == 2 else values
