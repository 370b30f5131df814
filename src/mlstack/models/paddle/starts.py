"""How weights start: by the laws of torch and torchvision, so that a network starts alike in both frameworks.

Paddle draws a convolution from a normal distribution (fan-in) and a linear layer from Xavier's uniform one, with biases
of 0. Also here: what the settings change in a network that is already built.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import paddle
from paddle import Tensor, nn

Draw = Callable[[Tensor], None]


def start_as_torch(network: nn.Layer) -> None:
    """Draw each convolution and linear layer, biases included, from U(±1 / √fan-in): torch's own start."""
    for layer in network.sublayers(include_self=True):
        if isinstance(layer, nn.Conv2D | nn.Linear):
            bound = 1 / math.sqrt(_fans(layer.weight)[0])
            uniform(layer.weight, bound)
            if layer.bias is not None:
                uniform(layer.bias, bound)


def start_with(network: nn.Layer, *, convolution: Draw | None = None, linear: Draw | None = None) -> None:
    """Draw the weights of convolutions and linear layers as said; their biases start at 0. None = leave the kind."""
    for layer in network.sublayers(include_self=True):
        draw = convolution if isinstance(layer, nn.Conv2D) else linear if isinstance(layer, nn.Linear) else None
        if draw is not None:
            draw(layer.weight)
            if layer.bias is not None:
                normal(layer.bias, 0.0)


def kaiming_normal(weight: Tensor, *, fan_out: bool) -> None:
    """Draw from N(0, 2 / fan) (https://arxiv.org/abs/1502.01852); the fan ignores groups, as torch's does."""
    normal(weight, math.sqrt(2 / _fans(weight)[fan_out]))


def kaiming_uniform(weight: Tensor) -> None:
    """Draw from the uniform distribution with a variance of 2 / fan-in."""
    uniform(weight, math.sqrt(6 / _fans(weight)[0]))


@paddle.no_grad()
def normal(weight: Tensor, deviation: float) -> None:
    """Draw from N(0, deviation²) with Paddle's global generator."""
    weight.set_value(paddle.randn(weight.shape, dtype=weight.dtype) * deviation)


@paddle.no_grad()
def uniform(weight: Tensor, bound: float) -> None:
    """Draw from U(-bound, bound) with Paddle's global generator."""
    weight.set_value(paddle.uniform(weight.shape, dtype=weight.dtype, min=-bound, max=bound))


def _fans(weight: Tensor) -> tuple[int, int]:
    """How many inputs an output has, and the reverse: of a kernel [out, in, height, width] or a matrix [in, out]."""
    if weight.ndim == 2:
        return weight.shape[0], weight.shape[1]
    places = math.prod(weight.shape[2:])
    return weight.shape[1] * places, weight.shape[0] * places


@paddle.no_grad()
def start_as_identity(network: nn.Layer) -> None:
    """Let each convolution but the first pass its input on, in as many filters as it can.

    "Dirac" initialisation (https://arxiv.org/abs/1706.00388), as airbench has it (https://arxiv.org/abs/2404.00498):
    filters beyond the number of inputs keep their random start, so that more outputs than inputs are of use.
    """
    convolutions = [layer for layer in network.sublayers(include_self=True) if isinstance(layer, nn.Conv2D)]
    for convolution in convolutions[1:]:
        weight = convolution.weight.numpy()  # [out, in / groups, height, width]
        outputs, inputs, height, width = weight.shape
        group = outputs // convolution._groups
        for start in range(0, outputs, group):
            passing = min(group, inputs)
            weight[start : start + passing] = 0
            for channel in range(passing):
                weight[start + channel, channel, height // 2, width // 2] = 1
        convolution.weight.set_value(weight)


def set_dropout(network: nn.Layer, chance: float) -> bool:
    """Set the chance of each `nn.Dropout` in a network; False where it has none."""
    layers = [layer for layer in network.sublayers(include_self=True) if isinstance(layer, nn.Dropout)]
    for layer in layers:
        layer.p = chance
    return bool(layers)
