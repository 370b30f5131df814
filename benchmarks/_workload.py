"""What the benchmarks train: a small network and made-up pictures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from torch import nn

from mlstack.config import DataConfig
from mlstack.datasets import Dataset
from mlstack.datasets.build import dataset_from_arrays


def cnn(num_classes: int, in_channels: int, image_size: int, width: int) -> nn.Module:
    """Three blocks of convolution, batch norm, ReLU and pooling, then the mean and a linear layer."""
    widths = (in_channels, width, 2 * width, 4 * width)
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, num_classes))


def made_up_pictures(count: int) -> Dataset:
    """Noise of 32 × 32 pixels in colour, ten classes."""
    random = np.random.default_rng(0)
    sizes = {"train": count, "val": 10, "test": 10}
    parts = {
        name: (random.integers(0, 256, (number, 32, 32, 3), np.uint8), np.arange(number) % 10)
        for name, number in sizes.items()
    }
    return dataset_from_arrays(DataConfig(), parts, name="made_up", classes=list("0123456789"))
