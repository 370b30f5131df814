"""Labels as arrays: one class each, several labels each, or numbers; checked before anything is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.config.data import TASKS, DataConfig
from mlstack.datasets.base import Labels
from mlstack.errors import ConfigError, DataError


def checked_labels(part: str, labels: NDArray[Any], classes: Sequence[str], *, task: str) -> Labels:
    """The labels of a split in the form of their task.

    Args:
        part: The split's name, for messages.
        labels: Whole numbers [n] of a classification; 0, 1 or bool [n, label]; finite numbers [n, target], or [n]
            where there is one target.
        classes: Names of the classes, labels or targets.
        task: What is learnt.

    Returns:
        int64 [n], or float32 [n, label or target].

    Raises:
        DataError: An empty split, another shape, or values that the task does not have.
    """
    if task not in TASKS:
        raise DataError(f"there is no task {task!r}", allowed=TASKS)
    if len(labels) == 0:
        raise DataError(f"the {part} split has no images")
    if task == "classification":
        return _classes(part, labels, classes)
    if task == "regression" and labels.shape == (len(labels),) and len(classes) == 1:
        labels = labels[:, None]
    if labels.shape != (len(labels), len(classes)):
        shape = f"{len(labels)}, {len(classes)}"
        raise DataError(f"the {part} split has labels of shape {list(labels.shape)}; data.task={task} needs [{shape}]")
    if labels.dtype.kind not in "fiub":
        raise DataError(f"the {part} split has labels of type {labels.dtype}; data.task={task} needs numbers")
    wrong = (labels != 0) & (labels != 1) if task == "multilabel" else ~(np.abs(labels) <= np.finfo(np.float32).max)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        need = "0 or 1" if task == "multilabel" else "a finite number"
        raise DataError(f"{part}/{row} has {labels[row, column]} for {classes[column]!r}, which is not {need}")
    return labels.astype(np.float32, copy=False)


def _classes(part: str, labels: NDArray[Any], classes: Sequence[str]) -> NDArray[np.int64]:
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        what = f"{labels.dtype} of shape {list(labels.shape)}"
        raise DataError(f"the {part} split has labels of type {what}; classes are whole numbers, one each")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(classes):
        raise DataError(f"the {part} split has labels from {low} to {high}, but there are {len(classes)} classes")
    return labels.astype(np.int64, copy=False)


def target_statistics(config: DataConfig, labels: Labels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each target: the config's, or else of the training labels.

    Args:
        config: Its `target_mean` and `target_std` win, each by itself.
        labels: float32 [n, target], of the training split.

    Returns:
        In the targets' own units. The deviation of a target that is always the same is 1, not 0: it divides.

    Raises:
        ConfigError: Another number of values, or a deviation that is not above 0.
    """
    for key, given in (("target_mean", config.target_mean), ("target_std", config.target_std)):
        if given is not None and len(given) != labels.shape[1]:
            message = f"data.{key} has {len(given)} values, the data has {labels.shape[1]} targets"
            raise ConfigError(message, key=f"data.{key}")
    if config.target_std is not None and not min(config.target_std) > 0:
        raise ConfigError(f"data.target_std={list(config.target_std)} must be above 0", key="data.target_std")
    mean = labels.mean(axis=0, dtype=np.float64)
    std = np.sqrt(np.square(labels - mean).mean(axis=0))
    std = np.where(std > 1e-7 * np.abs(mean), std, 1.0)  # below that it is the rounding of float32
    return tuple(config.target_mean or mean.tolist()), tuple(config.target_std or std.tolist())
