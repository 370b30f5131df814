"""From raw pictures to a `Dataset`: what the config leaves open follows from the data, what it gives must fit."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mlstack.config.data import DataConfig
from mlstack.datasets.base import Dataset, Split
from mlstack.datasets.images import ArrayImages
from mlstack.datasets.labels import checked_labels, target_statistics
from mlstack.errors import ConfigError, DataError

CHUNK = 1024  # pictures at a time where floats are made of them
LUMA = np.array([299, 587, 114], np.uint32)  # ITU-R BT.601, thousandths


def dataset_from_arrays(
    config: DataConfig,
    parts: Mapping[str, tuple[NDArray[np.uint8], NDArray[Any]]],
    *,
    name: str,
    classes: Sequence[str],
    task: str = "classification",
) -> Dataset:
    """A data set that fits into memory.

    Args:
        config: Image size, channels, mean, std and classes that it gives are used, the others follow from the data.
        parts: For `train`, `val` and `test`: pictures uint8 [n, side, side, channel], and labels by the task. Whole
            numbers [n] are classes; 0 or 1 [n, label] is multilabel; finite numbers [n, target] are a regression.
        name: What the set is called.
        classes: A name for each class, label or target.
        task: `classification`, `multilabel` or `regression`.

    Raises:
        ConfigError: A setting that does not fit the data.
        DataError: An empty split, more pictures than labels or fewer, or labels that do not fit the task.
    """
    names = class_names(config, classes)
    channels = wanted_channels(config, default=next(iter(parts.values()))[0].shape[3])
    splits: dict[str, Split] = {}
    for part, (pictures, raw) in parts.items():
        labels = checked_labels(part, raw, names, task=task)
        if len(pictures) != len(labels):
            raise DataError(f"the {part} split has {len(pictures)} images and {len(labels)} labels")
        fitted = _resize(_recolour(pictures, channels), config.image_size)
        splits[part] = Split(ArrayImages(fitted), labels, [f"{part}/{index}" for index in range(len(labels))])
    mean, std = statistics(config, splits["train"], sample=None)
    dataset = Dataset(
        name=name,
        classes=names,
        image_size=splits["train"].images.side,
        channels=channels,
        mean=mean,
        std=std,
        splits=splits,
        fingerprint=_fingerprint(parts, names),
        task=task,
    )
    return with_target_statistics(config, dataset)


def with_target_statistics(config: DataConfig, dataset: Dataset) -> Dataset:
    """The same data set; one of a regression with its targets' mean and standard deviation."""
    if dataset.task != "regression":
        return dataset
    mean, std = target_statistics(config, dataset.splits["train"].labels)
    return dataclasses.replace(dataset, target_mean=mean, target_std=std)


def class_names(config: DataConfig, found: Sequence[str]) -> tuple[str, ...]:
    """`data.classes` where it is given and as many as the data has, else the data's own names."""
    if config.classes is None:
        return tuple(found)
    if len(config.classes) != len(found):
        raise ConfigError(
            f"data.classes has {len(config.classes)} names, the data has {len(found)} classes",
            key="data.classes",
            hint="leave data.classes away to take the data's own names",
        )
    return tuple(config.classes)


def wanted_channels(config: DataConfig, *, default: int) -> int:
    """`data.channels`, or the data's own number."""
    channels = default if config.channels is None else config.channels
    if channels not in (1, 3):
        raise ConfigError(
            f"data.channels={channels} is not possible with this data set",
            key="data.channels",
            allowed=("1 (grey)", "3 (colour)"),
        )
    return channels


def statistics(config: DataConfig, train: Split, *, sample: int | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, 0 to 1: the config's, or else computed from training pictures.

    Args:
        config: Its `mean` and `std` win, each by itself.
        train: The training split.
        sample: How many pictures to look at, drawn with the split seed; None = all of them.
    """
    channels = train.images.channels
    for key, given in (("mean", config.mean), ("std", config.std)):
        if given is not None and len(given) != channels:
            raise ConfigError(
                f"data.{key} has {len(given)} values, the images have {channels} channels", key=f"data.{key}"
            )
    if config.std is not None and min(config.std) <= 0:
        raise ConfigError(f"data.std={list(config.std)} must be above 0", key="data.std")
    if config.mean is not None and config.std is not None:
        return tuple(config.mean), tuple(config.std)
    mean, std = _moments(train, sample, config.split_seed)
    return tuple(config.mean or mean), tuple(config.std or std)


def _moments(train: Split, sample: int | None, seed: int) -> tuple[list[float], list[float]]:
    indices = np.arange(len(train), dtype=np.int64)
    if sample is not None and sample < len(indices):
        indices = np.sort(np.random.default_rng(seed).choice(indices, sample, replace=False))
    side, channels = train.images.side, train.images.channels
    total, squares = np.zeros(side * channels), np.zeros(side * channels)
    for start in range(0, len(indices), CHUNK):
        rows = train.images.read(indices[start : start + CHUNK]).reshape(-1, side * channels)
        floats = rows.astype(np.float32)
        total += floats.sum(axis=0, dtype=np.float64)
        squares += np.einsum("ij,ij->j", floats, floats, dtype=np.float64, optimize=False)
    count = len(indices) * side * side * 255.0
    mean = total.reshape(side, channels).sum(axis=0) / count
    variance = squares.reshape(side, channels).sum(axis=0) / (count * 255.0) - mean**2
    std = np.sqrt(np.maximum(variance, 1e-6))  # a set of one colour must not divide by zero
    return [round(float(value), 6) for value in mean], [round(float(value), 6) for value in std]


def _recolour(pictures: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Grey to RGB by repetition, RGB to grey by its luma."""
    if pictures.shape[3] == channels:
        return pictures
    if channels == 3:
        return np.repeat(pictures, 3, axis=3)
    grey = np.empty((*pictures.shape[:3], 1), np.uint8)
    for start in range(0, len(pictures), CHUNK):
        grey[start : start + CHUNK, :, :, 0] = (pictures[start : start + CHUNK] @ LUMA + 500) // 1000
    return grey


def _resize(pictures: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """Each picture to size × size, once and for all."""
    if size is None or size == pictures.shape[1]:
        return pictures
    resized = np.empty((len(pictures), size, size, pictures.shape[3]), np.uint8)
    for index, picture in enumerate(pictures):
        image = Image.fromarray(picture if picture.shape[2] == 3 else picture[:, :, 0])
        resized[index] = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).reshape(size, size, -1)
    return resized


def _fingerprint(parts: Mapping[str, tuple[NDArray[np.uint8], NDArray[Any]]], classes: Sequence[str]) -> str:
    """sha256 over the class names and, split by split, every pixel and every label as they were read."""
    digest = hashlib.sha256(repr(tuple(classes)).encode())
    for part, (pictures, labels) in parts.items():
        digest.update(f"{part} {pictures.shape}".encode())
        digest.update(np.ascontiguousarray(pictures).data)
        digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()
