"""Metrics of decisions: counts of what was taken for what, and precision, recall and F1 from them.

Whatever is 0/0 (the precision of a class that was never predicted, the recall of one that never occurs) is 0,
as with scikit-learn's `zero_division=0`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlstack.errors import DataError


@dataclass(frozen=True)
class BinaryScores:
    """Scores of one class against all others, each 0 to 1."""

    accuracy: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class among several, each 0 to 1.

    Attributes:
        support: How many pictures are of this class.
        predicted: How many were taken for it.
    """

    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


def binary_scores(*, tp: int, tn: int, fp: int, fn: int) -> BinaryScores:
    """Scores from the four counts: true and false positives, true and false negatives."""
    return BinaryScores(
        accuracy=_ratio(tp + tn, tp + tn + fp + fn),
        precision=_ratio(tp, tp + fp),
        recall=_ratio(tp, tp + fn),
        f1=_ratio(2 * tp, 2 * tp + fp + fn),
    )


def confusion_matrix(labels: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int) -> NDArray[np.int64]:
    """Count what was taken for what.

    Args:
        labels: int64 [n], the true classes.
        predicted: int64 [n], the decisions.
        num_classes: Number of classes, also those that do not occur.

    Returns:
        int64 [class, class]; rows are the truth, columns the decision.

    Raises:
        DataError: A label or a decision is not in 0 … num_classes - 1.
    """
    for name, values in (("label", labels), ("predicted class", predicted)):
        check_range(values, num_classes, name)
    cells = labels.astype(np.int64) * num_classes + predicted
    counts = np.bincount(cells, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def per_class_metrics(matrix: NDArray[np.int64]) -> list[ClassScores]:
    """Scores of each class from a confusion matrix (int64 [class, class], rows = truth)."""
    return class_scores(matrix.diagonal(), supports=matrix.sum(axis=1), decisions=matrix.sum(axis=0))


def class_scores(
    hits: NDArray[np.int64], *, supports: NDArray[np.int64], decisions: NDArray[np.int64]
) -> list[ClassScores]:
    """Scores from counts of each class, int64 [class]: right decisions for it, pictures of it, decisions for it."""
    return [
        ClassScores(
            precision=_ratio(hit, decided),
            recall=_ratio(hit, support),
            f1=_ratio(2 * hit, support + decided),
            support=support,
            predicted=decided,
        )
        for hit, support, decided in zip(hits.tolist(), supports.tolist(), decisions.tolist(), strict=True)
    ]


def check_range(classes: NDArray[np.int64], num_classes: int, name: str) -> None:
    """Raise DataError unless every one of `classes` (int64 [n]) is in 0 … num_classes - 1."""
    outside = classes[(classes < 0) | (classes >= num_classes)]
    if len(outside):
        raise DataError(
            f"{name} {outside[0]} is none of the {num_classes} classes (there are {len(outside)} such values)",
            hint=f"{name}s start at 0 and end at {num_classes - 1}",
        )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
