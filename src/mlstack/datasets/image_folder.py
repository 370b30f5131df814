"""Bring your own pictures: data=image_folder data.path=photos/, a folder with a folder for each class."""

from __future__ import annotations

import hashlib
import statistics as averages

from mlstack.config.data import DataConfig
from mlstack.datasets.base import Dataset, Split
from mlstack.datasets.build import class_names, statistics, wanted_channels, with_target_statistics
from mlstack.datasets.cache import decoded_cache
from mlstack.datasets.decode import decoded_side
from mlstack.datasets.folders import LAYOUT_HINT, Found, scan
from mlstack.datasets.images import FileImages, MappedImages
from mlstack.datasets.places import data_folder
from mlstack.datasets.splits import fill_splits
from mlstack.errors import ConfigError, DataError

USUAL_SIZE = 224  # pixels; what ImageNet's networks were made for
SAMPLE = 500  # pictures whose mean and standard deviation stand for all


def load(config: DataConfig) -> Dataset:
    """The folder `data.path`: image size and channels follow from the pictures."""
    if config.path is None:
        raise ConfigError(
            "data=image_folder needs data.path, the folder with your images", key="data.path", hint=LAYOUT_HINT
        )
    return dataset_from_looks(config, scan(data_folder(config), verify=True))


def dataset_from_looks(config: DataConfig, found: Found) -> Dataset:
    """A data set of image files that were looked at: as large as half of them are, 224 at most; grey if all are."""
    shorter = int(averages.median(seen.shorter for seen in found.looks))
    channels = 1 if all(seen.grey for seen in found.looks) else 3
    return dataset_from_folder(config, found, image_size=min(USUAL_SIZE, max(1, shorter)), channels=channels)


def dataset_from_folder(config: DataConfig, found: Found, *, image_size: int, channels: int) -> Dataset:
    """A data set of image files, through the decoded cache where `data.cache=disk`.

    Args:
        config: Its image size, channels, mean, std and classes win.
        found: What lies in the folder.
        image_size: Where the config gives none.
        channels: Where the config gives none.
    """
    classes = class_names(config, found.classes)
    channels = wanted_channels(config, default=channels)
    size = config.image_size or image_size
    positions = fill_splits(
        found.positions,
        found.labels,
        test_fraction=config.test_fraction,
        val_fraction=config.val_fraction,
        seed=config.split_seed,
    )
    empty = [part for part, where in positions.items() if len(where) == 0]
    if empty:
        raise DataError(f"{found.root} has no images for {' and '.join(empty)}", hint=LAYOUT_HINT)
    side = config.decoded_size or decoded_side(size, config.resize)
    if side < size:
        raise ConfigError(
            f"data.decoded_size={side} is less than data.image_size={size}",
            key="data.decoded_size",
            hint="leave data.decoded_size away, or make it larger",
        )
    everything = FileImages(found.root, found.names, side=side, channels=channels, resize=config.resize)
    cache = decoded_cache(everything) if config.cache == "disk" else None
    splits = {}
    for part, where in positions.items():
        names = [found.names[index] for index in where]
        files = FileImages(found.root, names, side=side, channels=channels, resize=config.resize)
        splits[part] = Split(MappedImages(cache, where) if cache else files, found.labels[where], names)
    mean, std = statistics(config, splits["train"], sample=SAMPLE)
    fingerprint = _fingerprint(found, splits)
    dataset = Dataset(config.name, classes, size, channels, mean, std, splits, fingerprint, task=found.task)
    return with_target_statistics(config, dataset)


def _fingerprint(found: Found, splits: dict[str, Split]) -> str:
    """The folder's fingerprint, and which picture is in which split."""
    digest = hashlib.sha256(found.fingerprint().encode())
    for part, split in splits.items():
        digest.update("\0".join((part, *split.names)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
