"""Training as if weights and activations were int8, after Jacob et al. (https://arxiv.org/abs/1712.05877).

While training, every convolution and linear layer, the head and a whitening layer among them, gets its input rounded to
256 values and its weights to 255 for each output channel: the numbers that an int8 network will have. Gradients pass as
if nothing had been rounded (the straight-through estimator, https://arxiv.org/abs/1308.3432). Out of training, and in a
checkpoint, the network is an ordinary one; quantising it is what an export does.

Deviations from the paper:

- An input's range is that of the batch, 0 included, not a moving average: nothing is kept, so a checkpoint has no more
  in it, and a run that goes on ends bit for bit as one that was not stopped.
- Weights have a scale for each output channel, and -127 to 127. So batch norm needs no folding while training: it
  multiplies a whole channel, which changes its scale and none of its integers.
- Outputs of layers are not rounded, but where they are the next layer's input; a sum of two branches is rounded as the
  input of what follows.
- Rounding is there from the first step on; the paper waits. It is meant for a network that has been trained.

torch.fake_quantize_per_channel_affine and …_per_tensor_affine do a like thing, in 1.7 × the time on a CPU; with
bfloat16 they also answer in bfloat16, whose 8 bits can't hold an integer times a scale. Here float32 goes in and out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mlstack.errors import ConfigError

ACTIVATION_STEPS = 255  # uint8
WEIGHT_LIMIT = 127  # int8, the same on both sides of 0
LEAST_RANGE = 1e-12  # of an input or a filter that is all 0


class _Uint8(torch.autograd.Function):
    """`as_uint8` with the gradient of the identity."""

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        low, high = torch.aminmax(values)
        low, high = low.clamp(max=0), high.clamp(min=0)
        scale = (high - low).clamp(min=LEAST_RANGE) / ACTIVATION_STEPS
        zero = torch.round(-low / scale)  # the integer that stands for 0
        return (values / scale).round_().clamp_(-zero, ACTIVATION_STEPS - zero).mul_(scale)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return gradient


class _Int8(torch.autograd.Function):
    """`as_int8` with the gradient of the identity."""

    @staticmethod
    def forward(_: Any, weight: Tensor) -> Tensor:
        largest = weight.abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True)
        scale = largest.clamp(min=LEAST_RANGE) / WEIGHT_LIMIT
        return (weight / scale).round_().mul_(scale)

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        return gradient


def as_uint8(values: Tensor) -> Tensor:
    """Rounded to 256 evenly spaced values from the smallest to the largest, 0 among them: any shape, float."""
    rounded: Tensor = _Uint8.apply(_precise(values))
    return rounded


def as_int8(weight: Tensor) -> Tensor:
    """Rounded to 255 evenly spaced values for each output channel, 0 in the middle: float [out, …]."""
    rounded: Tensor = _Int8.apply(_precise(weight))
    return rounded


class QuantizationAwareConv2d(nn.Conv2d):
    """A convolution that rounds its input and its weights while training."""

    def _conv_forward(self, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.training:
            images, weight = as_uint8(images), as_int8(weight)
        answers: Tensor = super()._conv_forward(images, weight, bias)
        return answers


class QuantizationAwareLinear(nn.Linear):
    """A linear layer that rounds its input and its weights while training."""

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return super().forward(features)
        return functional.linear(as_uint8(features), as_int8(self.weight), self.bias)


# A class is exchanged and not a layer: names of weights, hooks and who holds the layer stay as they are.
ROUNDING: dict[type[nn.Module], type[nn.Module]] = {
    nn.Conv2d: QuantizationAwareConv2d,
    nn.Linear: QuantizationAwareLinear,
}


def make_quantization_aware(network: nn.Module) -> int:
    """Let convolutions and linear layers round while training, in place.

    Layers of classes derived from them compute in ways of their own and stay as they are.

    Returns:
        The number of layers.

    Raises:
        ConfigError: There is none.
    """
    layers = [layer for layer in network.modules() if type(layer) in ROUNDING]
    if not layers:
        raise ConfigError(
            "trainer.quantization_aware=true: this network has neither a nn.Conv2d nor a nn.Linear",
            key="trainer.quantization_aware",
            hint="type trainer.quantization_aware=false, or choose another model",
        )
    for layer in layers:
        layer.__class__ = ROUNDING[type(layer)]
    return len(layers)


def _precise(values: Tensor) -> Tensor:
    """In float32 where it is less."""
    return values if values.dtype == torch.float64 else values.float()
