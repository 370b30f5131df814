"""A user's own data set: data.target=module:callable, called with the `data` settings, returns a `Dataset`.

# flowers.py, in the current folder or anywhere on PYTHONPATH
def load(config: DataConfig) -> Dataset:
    return dataset_from_arrays(config, parts, name="flowers", classes=["rose", "tulip"])
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from mlstack.config.data import DataConfig
from mlstack.datasets.base import SPLITS, Dataset
from mlstack.datasets.build import check_labels, class_names, statistics
from mlstack.errors import ConfigError, DataError


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


def import_target(target: str, *, key: str) -> Callable[..., Any]:
    """The callable that `module:callable` names; the current folder counts as a place for modules.

    Raises:
        ConfigError: One line with what went wrong.
    """
    module_name, colon, name = target.partition(":")
    if not (colon and module_name and name):
        raise ConfigError(
            f"{key}={target} is not of the form module:callable", key=key, hint=f"such as {key}=flowers:load"
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    try:
        module = import_module(module_name)
    except (ImportError, SyntaxError) as error:
        reason = f"{error.msg} in line {error.lineno}" if isinstance(error, SyntaxError) else str(error)
        raise ConfigError(
            f"{key}={target}: {reason}", key=key, hint="run from the folder with the module, or put it on PYTHONPATH"
        ) from error
    found = getattr(module, name, None)
    if not callable(found):
        callables = [word for word, value in vars(module).items() if callable(value) and not word.startswith("_")]
        raise ConfigError(f"{key}={target}: {module_name} has no function {name}", key=key, allowed=callables)
    return found  # type: ignore[no-any-return]


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
