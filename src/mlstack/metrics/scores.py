"""The figures of any task, by the names that settings, tables and files use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.config.trainer import METRICS
from mlstack.errors import ConfigError
from mlstack.metrics.classification import classification_metrics
from mlstack.metrics.multilabel import multilabel_metrics
from mlstack.metrics.regression import regression_metrics

Scores = dict[str, float | None]

_MEASURES: dict[str, Callable[[Any, Any], Scores]] = {
    "classification": classification_metrics,
    "multilabel": multilabel_metrics,
    "regression": regression_metrics,
}


def score(task: str, outputs: NDArray[np.floating], labels: NDArray[np.generic]) -> Scores:
    """Score predictions against the truth, whatever `model.loss` trains with, so that runs can be compared.

    Args:
        task: `data.task`.
        outputs: float [n, class] probabilities, [n, label] probabilities, or [n, target] values in their own units.
        labels: int64 [n] classes, float [n, label] of 0 and 1, or float [n, target].

    Returns:
        The metrics of `METRICS[task]`, in that order. What cannot be told is None, which JSON can hold (NaN it can't).

    Raises:
        ConfigError: No such task.
        DataError: No picture at all, or a label that is not a class.
    """
    if task not in _MEASURES:
        raise ConfigError(f"data.task={task} is no task", key="data.task", allowed=tuple(_MEASURES))
    figures = _MEASURES[task](outputs, labels)
    return {name: figures[name] for name in METRICS[task]}
