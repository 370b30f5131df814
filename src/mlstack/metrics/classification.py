"""All figures of a classifier at once, as they go into results.json."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlstack.errors import DataError
from mlstack.metrics.calibration import CalibrationBins, calibration_bins
from mlstack.metrics.confusion import check_range, confusion_matrix, per_class_metrics
from mlstack.metrics.ranking import hit_rate, macro_roc_auc


def classification_metrics(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> dict[str, float | None]:
    """Score predictions against the truth.

    `precision`, `recall` and `f1` are means over classes with equal weight (macro); like scikit-learn's they leave out
    a class that neither occurs nor is predicted. The decision is the likeliest class, the first one among equals.
    A network that diverged gives NaN: that counts as probability 0, and `loss` and `roc_auc` are None.

    Args:
        probabilities: float [n, class], each row a distribution.
        labels: int64 [n], each 0 … class - 1.

    Returns:
        `loss`, the mean cross-entropy in nats, then `accuracy`, `top5_accuracy`, `precision`, `recall`, `f1`,
        `roc_auc` (macro one-vs-rest) and `calibration_error` (expected, in 15 bins), each 0 to 1. What cannot be
        told is None, which JSON can hold (NaN it can't).

    Raises:
        DataError: No picture at all, or a label that is not a class.
    """
    if len(labels) == 0:
        raise DataError("there is no picture to score", hint="the split is empty: check data.path and the limits")
    check_range(labels, probabilities.shape[1], "label")
    diverged = bool(np.isnan(probabilities.max()))  # max passes NaN on, without an array of flags
    known = np.nan_to_num(probabilities, nan=0.0) if diverged else probabilities
    decisions = known.argmax(axis=1).astype(np.int64)
    matrix = confusion_matrix(labels, decisions, known.shape[1])
    rows = [row for row in per_class_metrics(matrix) if row.support or row.predicted]
    return {
        "loss": None if diverged else _cross_entropy(known, labels),
        "accuracy": float((decisions == labels).mean()),
        "top5_accuracy": hit_rate(known, labels, 5),
        "precision": float(np.mean([row.precision for row in rows])),
        "recall": float(np.mean([row.recall for row in rows])),
        "f1": float(np.mean([row.f1 for row in rows])),
        "roc_auc": None if diverged else macro_roc_auc(known, labels),
        "calibration_error": None if diverged else bins_of_classes(known, decisions, labels).error,
    }


def bins_of_classes(
    probabilities: NDArray[np.floating], decisions: NDArray[np.int64], labels: NDArray[np.int64]
) -> CalibrationBins:
    """Calibration of decisions (int64 [n]) with probabilities float [n, class] without NaN against labels int64 [n]."""
    confidence = np.take_along_axis(probabilities, decisions[:, None], axis=1)[:, 0]
    return calibration_bins(confidence, decisions == labels)


def _cross_entropy(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """Mean of -ln(probability of the label); a probability of 0 counts as the type's epsilon, lest it be infinite."""
    of_label = np.take_along_axis(probabilities, labels[:, None], axis=1)
    return float(-np.log(np.maximum(of_label, np.finfo(of_label.dtype).eps), dtype=np.float64).mean())
