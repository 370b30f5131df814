"""Settings that follow from the data."""

from __future__ import annotations

from dataclasses import replace

from mlstack.config import DataConfig
from mlstack.datasets.base import Dataset


def with_derived(config: DataConfig, dataset: Dataset) -> DataConfig:
    """The same settings, with every key that was null and follows from the data filled in."""
    return replace(
        config,
        classes=list(dataset.classes),
        image_size=dataset.image_size,
        decoded_size=dataset.splits["train"].images.side,
        channels=dataset.channels,
        mean=list(dataset.mean),
        std=list(dataset.std),
        target_mean=list(dataset.target_mean) if dataset.target_mean else config.target_mean,
        target_std=list(dataset.target_std) if dataset.target_std else config.target_std,
    )
