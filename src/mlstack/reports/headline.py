"""The one line that says how good a network is."""

from __future__ import annotations

from collections.abc import Mapping

from mlstack.errors import ConfigError
from mlstack.reports.numbers import short_number

SHOWN = {
    "classification": ("accuracy", "loss", "f1"),
    "multilabel": ("f1", "loss", "exact_match"),
    "regression": ("mae", "rmse", "r2"),
}


def headline(task: str, scores: Mapping[str, float | None]) -> str:
    """`accuracy 0.9832   loss 0.0612   f1 0.9829`, or `mae 0.20   rmse 0.21   r2 0.91`; – for what is not known.

    Args:
        task: `data.task`.
        scores: What `metrics.score` gives.

    Raises:
        ConfigError: No such task.
    """
    if task not in SHOWN:
        raise ConfigError(f"data.task={task} is no task", key="data.task", allowed=tuple(SHOWN))
    return "   ".join(f"{name.replace('_', ' ')} {_write(task, scores.get(name))}" for name in SHOWN[task])


def _write(task: str, value: float | None) -> str:
    if value is None:
        return "–"
    return short_number(value) if task == "regression" else f"{value:.4f}"
