"""A network for ranks that are compared with one rank: without batch norm, whose statistics a rank has for itself."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def plain(num_classes: int, in_channels: int, image_size: int, norm: bool = False) -> nn.Module:
    """Three strided convolutions, with or without batch norm, the mean over the places and a linear layer."""
    widths = (in_channels, 32, 64, 128)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1)]
        layers += [nn.BatchNorm2d(after)] if norm else []
        layers += [nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], num_classes))
