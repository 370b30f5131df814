"""Metrics of numbers: how far the predictions are from the truth, in the targets' own units.

Several targets are scored one by one, and the scores averaged with equal weight: a target in thousands then outweighs
one in thousandths in `mae`, `rmse` and `loss`, but not in `r2`, which has no unit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlstack.errors import DataError


@dataclass(frozen=True)
class TargetScores:
    """Scores of one target; all None where a prediction is NaN or infinite.

    Attributes:
        mae: Mean absolute error, in the target's unit.
        rmse: Root of the mean squared error, in the target's unit.
        r2: 1 - squared error / that of always saying the mean; 1 is perfect. None for a target that never varies.
    """

    mae: float | None
    rmse: float | None
    r2: float | None


def regression_metrics(values: NDArray[np.floating], targets: NDArray[np.floating]) -> dict[str, float | None]:
    """Score predicted numbers against the truth.

    Args:
        values: float [n, target], the predictions, in the targets' own units.
        targets: float [n, target], the truth.

    Returns:
        `loss`, the mean squared error over all numbers, and the means over the targets of their `mae`, `rmse` and
        `r2` (targets that never vary are left out of `r2`). What cannot be told, because the network diverged or
        nothing varies, is None.

    Raises:
        DataError: No picture at all.
    """
    rows = per_target_metrics(values, targets)
    if not np.isfinite(values).all():
        return dict.fromkeys(("loss", "mae", "rmse", "r2"))
    return {
        "loss": _mean([row.rmse**2 for row in rows if row.rmse is not None]),
        "mae": _mean([row.mae for row in rows if row.mae is not None]),
        "rmse": _mean([row.rmse for row in rows if row.rmse is not None]),
        "r2": _mean([row.r2 for row in rows if row.r2 is not None]),
    }


def per_target_metrics(values: NDArray[np.floating], targets: NDArray[np.floating]) -> list[TargetScores]:
    """Scores of each target; arguments and errors as for `regression_metrics`."""
    if len(targets) == 0:
        raise DataError("there is no picture to score", hint="the split is empty: check data.path and the limits")
    return [_score(values[:, column], targets[:, column]) for column in range(targets.shape[1])]


def _score(values: NDArray[np.floating], truth: NDArray[np.floating]) -> TargetScores:
    """Scores of one target: float [n] each."""
    if not np.isfinite(values).all():
        return TargetScores(None, None, None)
    exact = truth.astype(np.float64)
    residuals = values.astype(np.float64) - exact
    squares = float((residuals**2).mean())
    # Asked of the values and not of their variance, which rounding leaves a little above 0.
    variance = float(((exact - exact.mean()) ** 2).mean()) if np.ptp(exact) else 0.0
    return TargetScores(
        mae=float(np.abs(residuals).mean()), rmse=squares**0.5, r2=1 - squares / variance if variance else None
    )


def _mean(numbers: list[float]) -> float | None:
    """None without a number: no target varies."""
    return float(np.mean(numbers)) if numbers else None
