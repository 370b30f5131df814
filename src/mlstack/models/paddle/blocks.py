"""What MobileNetV3 and EfficientNet are made of, with the names that torchvision gives the parts.

The names are what weights move by from one framework to the other, so a part is where torchvision has it.
"""

from __future__ import annotations

from collections.abc import Callable

import paddle
from paddle import Tensor, nn

from mlstack.models.paddle.starts import Draw, kaiming_normal, start_with

Activation = Callable[[], nn.Layer]
Norm = Callable[[int], nn.Layer]


def divisible_by_8(channels: float) -> int:
    """The multiple of 8 nearest to a number of channels, but not below nine tenths of it."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class ConvNormActivation(nn.Sequential):
    """Convolution without bias, norm, and an activation where one is given."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        norm: Norm,
        activation: Activation | None,
        stride: int = 1,
        groups: int = 1,
        dilation: int = 1,
    ) -> None:
        padding = (kernel - 1) // 2 * dilation
        convolution = nn.Conv2D(
            inputs, outputs, kernel, stride, padding, dilation=dilation, groups=groups, bias_attr=False
        )
        super().__init__(convolution, norm(outputs), *([activation()] if activation else []))


class SqueezeExcitation(nn.Layer):
    """Scales each channel by what its means over the picture suggest (https://arxiv.org/abs/1709.01507)."""

    def __init__(self, channels: int, squeezed: int, *, activation: Activation, scale_activation: Activation) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2D(1)
        self.fc1 = nn.Conv2D(channels, squeezed, 1)
        self.fc2 = nn.Conv2D(squeezed, channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, images: Tensor) -> Tensor:
        """float [batch, channel, height, width] → the same shape."""
        scale = self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(images)))))
        return scale * images


class StochasticDepth(nn.Layer):
    """Drops a picture's share of a residual branch by chance, while training (https://arxiv.org/abs/1603.09382)."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, branch: Tensor) -> Tensor:
        """float [batch, channel, height, width] → the same shape, some pictures 0 and the others scaled up."""
        if not self.training or self.chance == 0:
            return branch
        kept = paddle.bernoulli(paddle.full([branch.shape[0], 1, 1, 1], 1 - self.chance))
        return branch * (kept / (1 - self.chance)).astype(branch.dtype)


class MobileNetwork(nn.Layer):
    """Features, their means over the picture, and a classifier: the frame of both networks."""

    def __init__(self, features: nn.Layer, classifier: nn.Layer, *, linear: Draw) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2D(1)
        self.classifier = classifier
        start_with(self, convolution=lambda weight: kaiming_normal(weight, fan_out=True), linear=linear)

    def forward(self, images: Tensor) -> Tensor:
        """float [batch, channel, height, width] → logits, float [batch, class]."""
        return self.classifier(self.avgpool(self.features(images)).flatten(1))
