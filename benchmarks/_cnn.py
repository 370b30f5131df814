"""A small network in PyTorch, for benchmarks that need one tuned to a step's length."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def cnn(num_classes: int, in_channels: int, image_size: int, width: int) -> nn.Module:
    """Three blocks of convolution, batch norm, ReLU and pooling, then the mean and a linear layer."""
    widths = (in_channels, width, 2 * width, 4 * width)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, num_classes))
