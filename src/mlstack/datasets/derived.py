"""Settings that follow from the data."""

from __future__ import annotations

from dataclasses import replace

from mlstack.config import Config, DataConfig
from mlstack.config.contradictions import better_direction
from mlstack.config.model import LOSSES
from mlstack.config.trainer import METRICS
from mlstack.datasets.base import Dataset

# Statistics of the pictures that torchvision's and timm's pretrained weights have seen.
IMAGENET_MEAN = [0.485, 0.456, 0.406]
IMAGENET_STD = [0.229, 0.224, 0.225]


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


def complete(config: Config, dataset: Dataset) -> Config:
    """Fill in what follows from the data, from `model.pretrained`, `trainer.fast_dev_run` and `trainer.monitor`."""
    data, trainer = with_derived(config.data, dataset), config.trainer
    if config.model.pretrained and config.data.mean is None and data.channels == 3:
        data = replace(data, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    if trainer.fast_dev_run:
        trainer = replace(trainer, max_epochs=1, limit_train_batches=1, limit_val_batches=1, limit_test_batches=1)
    if trainer.monitor == "auto":
        trainer = replace(trainer, monitor=f"val_{METRICS[data.task][1]}")
    if trainer.mode == "auto":
        trainer = replace(trainer, mode=better_direction(trainer.monitor))
    model = config.model if config.model.loss != "auto" else replace(config.model, loss=LOSSES[data.task][0])
    return replace(config, model=model, data=data, trainer=trainer)
