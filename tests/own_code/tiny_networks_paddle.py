"""Networks that a user might bring along, small enough to be trained in a test."""

from __future__ import annotations

import itertools

import paddle
from paddle import Tensor, nn


def tiny(*, num_classes: int, in_channels: int, image_size: int, norm: bool = False, width: int = 8) -> nn.Layer:
    """A convolution at half the resolution and a linear layer, with or without batch norm."""
    side = image_size // 2
    convolution = nn.Conv2D(in_channels, width, 3, stride=2, padding=1)
    norms = [nn.BatchNorm2D(width)] if norm else []
    return nn.Sequential(convolution, *norms, nn.ReLU(), nn.Flatten(), nn.Linear(width * side * side, num_classes))


def noisy(*, num_classes: int, in_channels: int, image_size: int, width: int = 4) -> nn.Layer:
    """Batch norm, whose statistics move, and dropout, which draws: what a run that goes on has to restore."""
    side = image_size // 2
    return nn.Sequential(
        nn.Conv2D(in_channels, width, 3, stride=2, padding=1),
        nn.BatchNorm2D(width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(width * side * side, num_classes),
    )


class Greedy(nn.Layer):
    """It takes more memory than any machine has, once it sees more than one picture."""

    def __init__(self, num_classes: int, inputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 1:
            paddle.empty([2**50], dtype="uint8")
        scores: Tensor = self.linear(images.flatten(1))
        return scores


def greedy(*, num_classes: int, in_channels: int, image_size: int) -> nn.Layer:
    return Greedy(num_classes, in_channels * image_size**2)


class Pooled(nn.Layer):
    """No linear layer: the last convolution has a channel for each class."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2D(in_channels, num_classes, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.convolution(images)
        return scores.mean(axis=(2, 3))


def pooled(*, num_classes: int, in_channels: int, image_size: int) -> nn.Layer:
    return Pooled(num_classes, in_channels)


class Scaled(nn.Layer):
    """Its last linear layer is not its last step: without it, features and head can't be told apart."""

    def __init__(self, num_classes: int, inputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.linear(images.flatten(1))
        return paddle.tanh(scores)


def scaled(*, num_classes: int, in_channels: int, image_size: int) -> nn.Layer:
    return Scaled(num_classes, in_channels * image_size**2)


class Cosine(nn.Layer):
    """It looks into its last linear layer instead of calling it: without that layer it can't answer at all."""

    def __init__(self, num_classes: int, inputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.normalize(images.flatten(1)) @ nn.functional.normalize(self.linear.weight, axis=0)


def cosine(*, num_classes: int, in_channels: int, image_size: int) -> nn.Layer:
    return Cosine(num_classes, in_channels * image_size**2)


def two_scores(*, num_classes: int, in_channels: int, image_size: int) -> nn.Layer:
    """Wrong on purpose: two scores whatever there is to tell apart."""
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * image_size**2, 2))


def narrow(*, num_classes: int, in_channels: int, image_size: int) -> nn.Layer:
    """Wrong on purpose: it takes 16 numbers whatever the images are."""
    return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes))


def no_network(**_: object) -> str:
    """Wrong on purpose: not a network at all."""
    return "resnet18"


class Bessel(nn.Layer):
    """It uses an operation that ONNX does not have."""

    def __init__(self, num_classes: int, inputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(paddle.i0(images).flatten(1))


def bessel(*, num_classes: int, in_channels: int, image_size: int) -> nn.Layer:
    return Bessel(num_classes, in_channels * image_size**2)


CALLS = itertools.count()


class Moody(nn.Layer):
    """Wrong on purpose: its answers depend on how often networks of its kind were asked before."""

    def __init__(self, num_classes: int, inputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1)) * (1 + next(CALLS) % 7)


def moody(*, num_classes: int, in_channels: int, image_size: int) -> nn.Layer:
    return Moody(num_classes, in_channels * image_size**2)
