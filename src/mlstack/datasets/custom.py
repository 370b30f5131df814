"""A user's own data set: data.target=module:callable, called with the `data` settings, returns a `Dataset`.

# flowers.py, in the current folder or anywhere on PYTHONPATH
def load(config: DataConfig) -> Dataset:
    return dataset_from_arrays(config, parts, name="flowers", classes=["rose", "tulip"])

With data.task=multilabel or regression it says task=config.task to `dataset_from_arrays`, and gives labels [n, label].
"""

from __future__ import annotations

import dataclasses

from mlstack.config.data import DataConfig
from mlstack.datasets.base import SPLITS, Dataset
from mlstack.datasets.build import class_names, statistics, with_target_statistics
from mlstack.datasets.labels import checked_labels
from mlstack.errors import ConfigError, DataError
from mlstack.utils.target import import_target


def load_custom(config: DataConfig) -> Dataset:
    """Call the target; `classes`, `mean`, `std`, `target_mean` and `target_std` of the config win over what it returns.

    Raises:
        ConfigError: The target can't be imported or called, or contradicts the config.
        DataError: It returned no usable `Dataset`.
    """
    target = config.target or ""
    load = import_target(target, key="data.target")
    try:
        dataset = load(config)
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise DataError(f"data.target={target} failed: {type(error).__name__}: {error}") from error
    dataset = _checked(dataset, target, config)
    classes = class_names(config, dataset.classes)
    given = dataclasses.replace(config, mean=config.mean or list(dataset.mean), std=config.std or list(dataset.std))
    mean, std = statistics(given, dataset.splits["train"], sample=None)
    return _with_targets(dataclasses.replace(dataset, classes=classes, mean=mean, std=std), config)


def _with_targets(dataset: Dataset, config: DataConfig) -> Dataset:
    """The config's mean and deviation of the targets win, then those returned, then those of the labels."""
    mean, std = dataset.target_mean, dataset.target_std
    given = dataclasses.replace(
        config,
        target_mean=config.target_mean or (list(mean) if mean else None),
        target_std=config.target_std or (list(std) if std else None),
    )
    return with_target_statistics(given, dataset)


def _checked(dataset: object, target: str, config: DataConfig) -> Dataset:
    if not isinstance(dataset, Dataset):
        raise DataError(
            f"data.target={target} returned {type(dataset).__name__}, not a Dataset",
            hint="build one with mlstack.datasets.build.dataset_from_arrays",
        )
    missing = [part for part in SPLITS if part not in dataset.splits]
    if missing:
        raise DataError(f"data.target={target} returned no split {', '.join(missing)}", allowed=SPLITS)
    splits = dict(dataset.splits)
    for part in SPLITS:
        split = dataset.splits[part]
        splits[part] = dataclasses.replace(
            split, labels=checked_labels(part, split.labels, dataset.classes, task=dataset.task)
        )
        if len(split.images) != len(split.labels):
            raise DataError(
                f"the {part} split of {target} has {len(split.images)} images and {len(split.labels)} labels"
            )
    for key, given, found in (
        ("task", config.task, dataset.task),
        ("image_size", config.image_size, dataset.image_size),
        ("channels", config.channels, dataset.channels),
    ):
        if given is not None and given != found:
            hint = "give task=config.task to dataset_from_arrays, and labels that fit it" if key == "task" else ""
            message = f"data.{key}={given}, but data.target={target} returned {key} {found}"
            raise ConfigError(message, key=f"data.{key}", hint=hint)
    return dataclasses.replace(dataset, splits=splits)
