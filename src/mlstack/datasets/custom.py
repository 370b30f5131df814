"""A user's own data set: data.target=module:callable, called with the `data` settings, returns a `Dataset`.

# flowers.py, in the current folder or anywhere on PYTHONPATH
def load(config: DataConfig) -> Dataset:
    return dataset_from_arrays(config, parts, name="flowers", classes=["rose", "tulip"])
"""

from __future__ import annotations

import dataclasses

from mlstack.config.data import DataConfig
from mlstack.datasets.base import SPLITS, Dataset
from mlstack.datasets.build import check_labels, class_names, statistics
from mlstack.errors import ConfigError, DataError
from mlstack.utils.target import import_target


def load_custom(config: DataConfig) -> Dataset:
    """Call the target; `classes`, `mean` and `std` of the config win over what it returns.

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
    return dataclasses.replace(dataset, classes=classes, mean=mean, std=std)


def _checked(dataset: object, target: str, config: DataConfig) -> Dataset:
    if not isinstance(dataset, Dataset):
        raise DataError(
            f"data.target={target} returned {type(dataset).__name__}, not a Dataset",
            hint="build one with mlstack.datasets.build.dataset_from_arrays",
        )
    missing = [part for part in SPLITS if part not in dataset.splits]
    if missing:
        raise DataError(f"data.target={target} returned no split {', '.join(missing)}", allowed=SPLITS)
    for part in SPLITS:
        split = dataset.splits[part]
        check_labels(part, split.labels, dataset.classes)
        if len(split.images) != len(split.labels):
            raise DataError(
                f"the {part} split of {target} has {len(split.images)} images and {len(split.labels)} labels"
            )
    for key, given, found in (
        ("image_size", config.image_size, dataset.image_size),
        ("channels", config.channels, dataset.channels),
    ):
        if given is not None and given != found:
            raise ConfigError(f"data.{key}={given}, but data.target={target} returned {key} {found}", key=f"data.{key}")
    return dataset
