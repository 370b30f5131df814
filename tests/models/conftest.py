"""What the tests of networks share. A test that takes `layers` runs once with each framework that is there."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlstack.config import DataConfig, ModelConfig


@pytest.fixture
def layers(engine: str) -> Any:
    """The framework's layers behind neutral names: tests/own_code/layers_<engine>.py; the same draws every time."""
    module = import_module(f"layers_{engine}")
    module.seed(0)
    return module


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


def pictures(number: int, size: int, channels: int) -> NDArray[np.uint8]:
    """uint8 [number, size, size, channels], each pixel random."""
    return np.random.default_rng(number).integers(0, 256, (number, size, size, channels), dtype=np.uint8)


def numbers(*shape: int) -> NDArray[np.float32]:
    """float32 from a normal distribution."""
    return np.random.default_rng(1).standard_normal(shape, dtype=np.float32)


def own(engine: str, name: str, **settings: Any) -> ModelConfig:
    """A small network of tests/own_code, written for the engine's framework."""
    return ModelConfig(target=f"tiny_networks_{engine}:{name}", **settings)
