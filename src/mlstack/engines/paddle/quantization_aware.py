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
"""

from __future__ import annotations

import paddle
from paddle import Tensor, nn
from paddle.nn import functional
from paddle.nn.functional import conv

from mlstack.errors import ConfigError

ACTIVATION_STEPS = 255  # uint8
WEIGHT_LIMIT = 127  # int8, the same on both sides of 0
LEAST_RANGE = 1e-12  # of an input or a filter that is all 0


def as_uint8(values: Tensor) -> Tensor:
    """Rounded to 256 evenly spaced values from the smallest to the largest, 0 among them: any shape, float."""
    values = _precise(values)
    exact = values.detach()
    low, high = exact.min().clip(max=0.0), exact.max().clip(min=0.0)
    scale = (high - low).clip(min=LEAST_RANGE) / ACTIVATION_STEPS
    zero = paddle.round(-low / scale)  # the integer that stands for 0
    integers = paddle.minimum(paddle.maximum(paddle.round(exact / scale), -zero), ACTIVATION_STEPS - zero)
    return values + (integers * scale - exact)


def as_int8(weight: Tensor, *, axis: int = 0) -> Tensor:
    """Rounded to 255 evenly spaced values for each output channel, 0 in the middle.

    Args:
        weight: Float, of a convolution [out, …], of a linear layer [in, out].
        axis: Where the output channels are.
    """
    weight = _precise(weight)
    exact = weight.detach()
    largest = exact.abs().amax(axis=[each for each in range(exact.ndim) if each != axis], keepdim=True)
    scale = largest.clip(min=LEAST_RANGE) / WEIGHT_LIMIT
    return weight + (paddle.round(exact / scale) * scale - exact)


class QuantizationAwareConv2D(nn.Conv2D):
    """A convolution that rounds its input and its weights while training."""

    def forward(self, images: Tensor) -> Tensor:
        if not self.training:
            return super().forward(images)
        images = as_uint8(images)
        if self._padding_mode != "zeros":
            images = functional.pad(
                images, self._reversed_padding_repeated_twice, mode=self._padding_mode, data_format=self._data_format
            )
        # As nn.Conv2D of Paddle 3.3.1 calls it, and by the name that precision.py replaces.
        return conv._conv_nd(
            images,
            as_int8(self.weight),
            bias=self.bias,
            stride=self._stride,
            padding=self._updated_padding,
            padding_algorithm=self._padding_algorithm,
            dilation=self._dilation,
            groups=self._groups,
            data_format=self._data_format,
            channel_dim=self._channel_dim,
            op_type=self._op_type,
            use_cudnn=self._use_cudnn,
        )


class QuantizationAwareLinear(nn.Linear):
    """A linear layer that rounds its input and its weights while training."""

    def forward(self, features: Tensor) -> Tensor:
        if not self.training:
            return super().forward(features)
        return functional.linear(as_uint8(features), as_int8(self.weight, axis=1), self.bias)


# A class is exchanged and not a layer: names of weights, hooks and who holds the layer stay as they are.
ROUNDING: dict[type[nn.Layer], type[nn.Layer]] = {
    nn.Conv2D: QuantizationAwareConv2D,
    nn.Linear: QuantizationAwareLinear,
}


def make_quantization_aware(network: nn.Layer) -> int:
    """Let convolutions and linear layers round while training, in place.

    Layers of classes derived from them compute in ways of their own and stay as they are.

    Returns:
        The number of layers.

    Raises:
        ConfigError: There is none.
    """
    layers = [layer for layer in network.sublayers(include_self=True) if type(layer) in ROUNDING]
    if not layers:
        raise ConfigError(
            "trainer.quantization_aware=true: this network has neither a nn.Conv2D nor a nn.Linear",
            key="trainer.quantization_aware",
            hint="type trainer.quantization_aware=false, or choose another model",
        )
    for layer in layers:
        layer.__class__ = ROUNDING[type(layer)]
    return len(layers)


def _precise(values: Tensor) -> Tensor:
    """In float32 where it is less."""
    return values if values.dtype in (paddle.float32, paddle.float64) else values.astype("float32")
