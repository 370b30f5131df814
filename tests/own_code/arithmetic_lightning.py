"""Tensors, networks, optimizers and losses of the PyTorch engine behind the names that `arithmetic_paddle.py` has.

Tests that are to hold with every engine load the one or the other and look at NumPy arrays.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from mlstack.config import ModelConfig
from mlstack.engines.lightning import averaging, losses, muon, optimizers

build_loss = losses.build_loss
WeightAverage = averaging.WeightAverage

# What the layers of `Mixed` call their parameters in this framework.
ATTENTION = {"attention.in_proj_weight", "attention.out_proj.weight"}
SLOPE = "slope.weight"


def tensor(values: ArrayLike, dtype: str | None = None, *, learns: bool = False) -> Tensor:
    """float32 from floats and int64 from whole numbers, unless told otherwise."""
    found = np.asarray(values)
    default = "int64" if found.dtype.kind in "iu" else "float32"
    made = torch.tensor(found).to(getattr(torch, dtype or default))
    return made.requires_grad_(learns)


def array(tensor: Tensor) -> NDArray[Any]:
    exact = tensor.detach().float() if tensor.dtype == torch.bfloat16 else tensor.detach()
    return exact.numpy().copy()


def copied(tensor: Tensor) -> Tensor:
    """As it comes out of a checkpoint."""
    return tensor.clone()


def dtype_of(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def parameter(values: ArrayLike, dtype: str = "float32") -> nn.Parameter:
    return nn.Parameter(tensor(values, dtype))


def gradient(tensor: Tensor) -> NDArray[Any] | None:
    return None if tensor.grad is None else array(tensor.grad)


def set_gradient(tensor: Tensor, values: ArrayLike) -> None:
    tensor.grad = torch.tensor(np.asarray(values)).to(tensor.dtype).expand(tensor.shape).clone()


def set_value(tensor: Tensor, values: ArrayLike) -> None:
    tensor.data.copy_(torch.tensor(np.asarray(values)))


class Optimizer:
    """What `build_optimizer` makes."""

    def __init__(self, config: ModelConfig, network: nn.Module, scale: float = 1.0) -> None:
        self.own = optimizers.build_optimizer(config, network, fused=False, scale=scale)
        self.names = {id(parameter): name for name, parameter in network.named_parameters()}

    def step(self) -> None:
        self.own.step()

    def clear_grad(self) -> None:
        self.own.zero_grad()

    def set_factor(self, factor: float) -> None:
        optimizers.set_factor(self.own, factor)

    @property
    def rate(self) -> float:
        return optimizers.learning_rate(self.own)

    @property
    def groups(self) -> dict[str, set[str]]:
        """The names of the parameters of each group."""
        groups = self.own.param_groups
        return {group["name"]: {self.names[id(parameter)] for parameter in group["params"]} for group in groups}

    @property
    def rates(self) -> dict[str, float]:
        return {group["name"]: group["lr"] for group in self.own.param_groups}

    @property
    def decays(self) -> dict[str, float]:
        return {group["name"]: group["weight_decay"] for group in self.own.param_groups}

    def l1_penalty(self) -> Tensor:
        return losses.l1_penalty(self.own)

    def saved(self) -> bytes:
        """Its state, as it goes into a checkpoint."""
        file = io.BytesIO()
        torch.save(self.own.state_dict(), file)
        return file.getvalue()

    def restore(self, saved: bytes) -> None:
        self.own.load_state_dict(torch.load(io.BytesIO(saved), weights_only=True))


def muon_of(parameters: Sequence[nn.Parameter], **arguments: Any) -> muon.Muon:
    """Muon over matrices alone. Arguments: `learning_rate`, `weight_decay` and Muon's own."""
    rate, decay = arguments.pop("learning_rate"), arguments.pop("weight_decay", 0.0)
    groups: list[dict[str, Any]] = [{"name": "hidden", "params": list(parameters), "weight_decay": decay}]
    return muon.Muon(groups, lr=rate, **arguments)


def set_rate(optimizer: muon.Muon, rate: float) -> None:
    optimizer.param_groups[0]["lr"] = rate


def orthogonalize(matrices: NDArray[Any], *, steps: int = 5) -> NDArray[Any]:
    return array(muon.orthogonalize(torch.tensor(matrices), steps=steps))


class Weight(nn.Module):
    """A single weight of 0.5, as a matrix (`weight`) or as a vector (`bias`)."""

    def __init__(self, name: str = "weight") -> None:
        super().__init__()
        shape = (1, 1) if name == "weight" else (1,)
        self.register_parameter(name, nn.Parameter(torch.full(shape, 0.5)))


class Mixed(nn.Module):
    """Every kind of parameter: layers, norms of one and of three dimensions, a slope, a scale, a token, a table."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.batch_norm = nn.BatchNorm2d(8)
        self.layer_norm = nn.LayerNorm([8, 6, 6])
        self.slope = nn.PReLU(8)
        self.scale = nn.Parameter(torch.ones(8, 1, 1))
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.positions = nn.Parameter(torch.zeros(1, 36, 8))
        self.position_bias = nn.Parameter(torch.zeros(36, 8))
        self.words = nn.Embedding(5, 8)
        self.attention = nn.MultiheadAttention(8, 2)
        self.hidden = nn.Conv2d(8, 8, 3)
        self.head = nn.Linear(8, 1)


def layered(dtype: str = "float32") -> nn.Module:
    """From [batch, 1, 6, 6] to [batch, 3], with every kind of layer that learns differently."""
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, bias=False),  # a bias would drown in the batch norm
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 8),
        nn.Tanh(),
        nn.Linear(8, 3),
    )
    return network.to(getattr(torch, dtype))


def linear(inputs: int, outputs: int) -> nn.Module:
    return nn.Linear(inputs, outputs)


def sequential(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def freeze(network: nn.Module) -> nn.Module:
    return network.requires_grad_(False)


def with_buffer_for_weight(layer: nn.Module) -> nn.Module:
    """The layer with its weight as a buffer."""
    values = layer.weight.detach()
    del layer.weight
    layer.register_buffer("weight", values)
    return layer


def convolution(inputs: int, outputs: int, size: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, size)


def batch_norm(channels: int) -> nn.Module:
    return nn.BatchNorm1d(channels)


def parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """Those that learn, by name."""
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def weights(network: nn.Module) -> dict[str, NDArray[Any]]:
    """Of the parameters that learn; those of linear layers are [out, in]."""
    return {name: array(parameter) for name, parameter in parameters(network).items()}


def gradients(network: nn.Module) -> dict[str, NDArray[Any]]:
    """Of the parameters that have one; turned as in `weights`."""
    have = {name: parameter for name, parameter in parameters(network).items() if parameter.grad is not None}
    return {name: array(parameter.grad) for name, parameter in have.items()}


def set_weights(network: nn.Module, values: Mapping[str, NDArray[Any]]) -> None:
    for name, own in parameters(network).items():
        set_value(own, values[name])


def set_gradients(network: nn.Module, values: Mapping[str, NDArray[Any]]) -> None:
    for name, value in values.items():
        set_gradient(parameters(network)[name], value)
