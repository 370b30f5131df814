"""A ResNet small enough for three epochs on one core; `_small_resnet_paddle.py` is the same in Paddle."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class Block(nn.Module):
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
    layer = nn.Conv2d(before, after, size, stride=stride, padding=size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(after))


def resnet(num_classes: int, in_channels: int, image_size: int, width: int = 8) -> nn.Module:
    """One block a stage, at a half, a fourth and an eighth of the resolution: eight layers deep."""
    widths = (width, width, 2 * width, 4 * width)
    blocks = [Block(before, after, 1 if before == after else 2) for before, after in pairwise(widths)]
    stem = [convolution(in_channels, width, 3, 2), nn.ReLU()]
    network = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, num_classes))
    for layer in network.modules():  # torchvision's start of a ResNet; the linear layer keeps torch's
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return network
