from __future__ import annotations

from typing import Any

import pytest
import torch

from mlstack.config import DataConfig


@pytest.fixture(autouse=True)
def _same_weights_every_time() -> None:
    torch.manual_seed(0)


def images_of(size: int, channels: int, classes: int = 10, **settings: Any) -> DataConfig:
    """Data settings whose derived values are filled in."""
    return DataConfig(
        image_size=size,
        channels=channels,
        classes=[str(label) for label in range(classes)],
        mean=[0.5, 0.4, 0.3][:channels],
        std=[0.25, 0.2, 0.5][:channels],
        **settings,
    )


def pictures(number: int, size: int, channels: int) -> torch.Tensor:
    """uint8 [number, size, size, channels], each pixel random."""
    return torch.randint(0, 256, (number, size, size, channels), dtype=torch.uint8)
