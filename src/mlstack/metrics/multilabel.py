"""All figures of a network that says for each of several labels whether it applies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlstack.errors import DataError
from mlstack.metrics.confusion import ClassScores, class_scores
from mlstack.metrics.ranking import label_rankings

THRESHOLD = 0.5  # a label applies from this probability on
ROWS = 1024  # pictures whose logarithms are taken at a time: all at once, the memory for them would cost 4 ×


def decided(probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which labels are said to apply: bool [n, label] for float [n, label]; NaN says no."""
    applies: NDArray[np.bool_] = probabilities >= THRESHOLD
    return applies


def multilabel_metrics(probabilities: NDArray[np.floating], labels: NDArray[np.floating]) -> dict[str, float | None]:
    """Score predictions against the truth.

    `precision`, `recall` and `f1` are means over labels with equal weight (macro), decided at a probability of 0.5;
    labels that neither apply to any picture nor are predicted are left out. A network that diverged gives NaN: that
    counts as probability 0, and what needs the probabilities themselves is None.

    Args:
        probabilities: float [n, label], each 0 to 1 on its own.
        labels: float [n, label], 1 where the label applies, else 0.

    Returns:
        `loss`, the mean binary cross-entropy in nats over all pictures and labels; `f1`, `precision`, `recall`;
        `exact_match`, the share of pictures with all labels right; `roc_auc` and `average_precision`, means over
        the labels that occur (for `roc_auc`: and that some picture lacks). What cannot be told is None.

    Raises:
        DataError: No picture at all.
    """
    if len(labels) == 0:
        raise DataError("there is no picture to score", hint="the split is empty: check data.path and the limits")
    truth = labels > 0.5
    rows = [row for row in per_label_metrics(probabilities, labels) if row.support or row.predicted]
    diverged = bool(np.isnan(probabilities.max()))  # max passes NaN on, without an array of flags
    roc_auc, average_precision = (None, None) if diverged else label_rankings(probabilities, truth)
    return {
        "loss": None if diverged else float(picture_losses(probabilities, labels).mean()),
        "f1": _mean([row.f1 for row in rows]),
        "precision": _mean([row.precision for row in rows]),
        "recall": _mean([row.recall for row in rows]),
        "exact_match": float((decided(probabilities) == truth).all(axis=1).mean()),
        "roc_auc": roc_auc,
        "average_precision": average_precision,
    }


def per_label_metrics(probabilities: NDArray[np.floating], labels: NDArray[np.floating]) -> list[ClassScores]:
    """Scores of each label; `support` is how many pictures it applies to. Arguments as for `multilabel_metrics`."""
    truth, said = labels > 0.5, decided(probabilities)
    hits, supports, decisions = (truth & said).sum(axis=0), truth.sum(axis=0), said.sum(axis=0)
    return class_scores(hits, supports=supports, decisions=decisions)


def picture_losses(probabilities: NDArray[np.floating], labels: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean binary cross-entropy of each picture in nats: float64 [n]; NaN where a probability is NaN.

    A probability of 0 for the truth counts as the type's epsilon, lest the loss be infinite.
    """
    least = np.finfo(probabilities.dtype).eps
    losses = np.empty(len(labels))
    for start in range(0, len(labels), ROWS):
        part = slice(start, start + ROWS)
        of_truth = np.where(labels[part] > 0.5, probabilities[part], 1 - probabilities[part])
        losses[part] = -np.log(np.maximum(of_truth, least), dtype=np.float64).mean(axis=1)
    return losses


def _mean(numbers: list[float]) -> float | None:
    """None without a number: no label applies anywhere and none was predicted."""
    return float(np.mean(numbers)) if numbers else None
