"""A ResNet small enough for three epochs on one core; `_small_resnet_lightning.py` is the same in PyTorch."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from paddle import Tensor, nn

from mlstack.models.paddle.starts import kaiming_normal, start_as_torch, start_with


class Block(nn.Layer):
    """Two 3×3 convolutions and a way around them (https://arxiv.org/abs/1512.03385).

    float [batch, before, height, width] → [batch, after, height / stride, width / stride], rounded up
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(before, after, 3, stride)
        self.second = convolution(after, after, 3, 1)
        self.around = nn.Identity() if before == after else convolution(before, after, 1, stride)
        self.relu = nn.ReLU()

    def forward(self, features: Tensor) -> Tensor:
        answer: Tensor = self.relu(self.second(self.relu(self.first(features))) + self.around(features))
        return answer


def convolution(before: int, after: int, size: int, stride: int) -> nn.Sequential:
    """A convolution and its batch norm."""
    layer = nn.Conv2D(before, after, size, stride=stride, padding=size // 2, bias_attr=False)
    return nn.Sequential(layer, nn.BatchNorm2D(after))


def resnet(num_classes: int, in_channels: int, image_size: int, width: int = 8) -> nn.Layer:
    """One block a stage, at a half, a fourth and an eighth of the resolution: eight layers deep."""
    widths = (width, width, 2 * width, 4 * width)
    blocks = [Block(before, after, 1 if before == after else 2) for before, after in pairwise(widths)]
    stem = [convolution(in_channels, width, 3, 2), nn.ReLU()]
    head = nn.Linear(4 * width, num_classes)
    start_as_torch(head)
    network = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2D(1), nn.Flatten(), head)
    start_with(network[:-1], convolution=partial(kaiming_normal, fan_out=True))  # torchvision's start of a ResNet
    return network
