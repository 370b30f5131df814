"""What the benchmarks train on: made-up pictures."""

from __future__ import annotations

import numpy as np

from mlstack.config import DataConfig
from mlstack.datasets import Dataset
from mlstack.datasets.build import dataset_from_arrays


def made_up_pictures(count: int, *, side: int = 32, channels: int = 3) -> Dataset:
    """Noise of ten classes, by default 32 × 32 pixels in colour."""
    random = np.random.default_rng(0)
    sizes = {"train": count, "val": 10, "test": 10}
    parts = {
        name: (random.integers(0, 256, (number, side, side, channels), np.uint8), np.arange(number) % 10)
        for name, number in sizes.items()
    }
    return dataset_from_arrays(DataConfig(), parts, name="made_up", classes=list("0123456789"))
