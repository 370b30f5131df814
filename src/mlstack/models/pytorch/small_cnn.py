"""A small, fast convolutional network for pictures of 28 to 32 pixels, after airbench94 (https://arxiv.org/abs/2404.00498).

Three blocks of convolution, max-pool, batch norm, ReLU, convolution, batch norm, ReLU; then the largest value of each
channel, scaled down. Deviations from the paper:

- The widths are 16, 32 and 64 by default, not 64, 256 and 256, which suits a processor; `width` sets the first.
- The whitening layer and the identity start of the convolutions are settings of their own (`model.whitening`,
  `model.conv_init`), and that layer pads its 3×3 patches: 28 pixels stay 28.
- The features are scaled, not the head's answers; the head has a bias. For a head without one that is the same.
- ReLU in the place of GELU: in bfloat16 on a processor it takes a fifth of the time.
- Batch norm keeps PyTorch's eps of 1e-5 (the paper: 1e-12).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from mlstack.errors import ConfigError

WIDTH = 16
FEATURE_SCALE = 1 / 9  # the paper's factor of the answers
NORM_MOMENTUM = 0.4  # share of a batch in the running statistics; the paper calls it 0.6, the share of the old ones


def small_cnn(arguments: dict[str, Any], *, channels: int) -> tuple[nn.Module, int]:
    """The network without its head, and its number of features, 4 · width.

    It maps normalised images, float [batch, channel, height, width] of at least 8 × 8 pixels, to [batch, 4 · width].

    Args:
        arguments: `model.args`: width, the channels of the first block; the others have two and four times as many.
        channels: Of the images.

    Raises:
        ConfigError: `arguments` holds anything but a width of at least 1.
    """
    width = arguments.get("width", WIDTH)
    if set(arguments) - {"width"} or type(width) is not int or width < 1:
        raise ConfigError(
            f"model.args={arguments} does not fit model.name=small_cnn",
            key="model.args",
            hint=f"it takes one argument, a whole number: model.args.width={WIDTH}",
        )
    widths = (channels, width, 2 * width, 4 * width)
    blocks = [_block(before, after) for before, after in pairwise(widths)]
    return nn.Sequential(*blocks, LargestPlace(), nn.Flatten(), Scale(FEATURE_SCALE)), 4 * width


def _block(before: int, after: int) -> nn.Sequential:
    """Two convolutions, the first at full and the second at half resolution.

    float [batch, before, height, width] → [batch, after, height // 2, width // 2]
    """
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
        _norm(after),
        nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1, bias=False),
        _norm(after),
        nn.ReLU(),
    )


def _norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm whose scale stays at 1: only its shift learns."""
    norm = nn.BatchNorm2d(channels, momentum=NORM_MOMENTUM)
    norm.weight.requires_grad_(False)
    return norm


class LargestPlace(nn.Module):
    """The largest value of each channel: float [batch, channel, height, width] → [batch, channel, 1, 1].

    As nn.AdaptiveMaxPool2d(1), which torch before 2.14 can't write as ONNX and CUDA has no deterministic kernel for.
    """

    def forward(self, values: Tensor) -> Tensor:
        return nn.functional.max_pool2d(values, values.shape[2:])


class Scale(nn.Module):
    """Multiplies by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, features: Tensor) -> Tensor:
        return features * self.factor
