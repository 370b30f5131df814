"""Metrics of rankings: is the right class among the first k, and are its pictures ranked above the others'."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 16  # columns sorted at a time: few enough to stay in the cache, enough to read whole cache lines


def top_k(probabilities: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """The k likeliest classes of each row, likeliest first.

    Equal probabilities come in the order of the classes, so that the first one is what argmax gives.

    Args:
        probabilities: float [n, class].
        k: How many; more than there are classes means all of them.

    Returns:
        int64 [n, min(k, class)].
    """
    left = probabilities.copy()
    rows = np.arange(len(left))
    best = np.empty((len(left), min(k, left.shape[1])), np.int64)
    for place in range(best.shape[1]):  # k passes of argmax: for a small k much faster than sorting each row
        best[:, place] = left.argmax(axis=1)
        left[rows, best[:, place]] = -np.inf
    return best


def hit_rate(probabilities: NDArray[np.floating], labels: NDArray[np.int64], k: int) -> float:
    """Share of rows whose label is among the k likeliest classes: 0 to 1; `top_k` without the sorting.

    Args:
        probabilities: float [n, class], n ≥ 1.
        labels: int64 [n].
        k: How many guesses count.
    """
    of_label = np.take_along_axis(probabilities, labels[:, None], axis=1)  # [n, 1]
    ahead = np.count_nonzero(probabilities > of_label, axis=1)
    tied = np.flatnonzero(np.count_nonzero(probabilities == of_label, axis=1) > 1)
    before = np.arange(probabilities.shape[1]) < labels[tied, None]  # equals of a lower class come first
    ahead[tied] += np.count_nonzero((probabilities[tied] == of_label[tied]) & before, axis=1)
    return float((ahead < k).mean())


def macro_roc_auc(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> float | None:
    """Area under the ROC curve, one class against the rest, averaged over classes with equal weight.

    The area is the chance that a picture of the class ranks above one of another class, ties counting one half
    (Mann and Whitney's U), so only the ranks of the class's own pictures are needed.

    Args:
        probabilities: float [n, class] without NaN.
        labels: int64 [n].

    Returns:
        0 to 1. Classes without a picture, or without a picture of another class, are left out; None if none is left.
    """
    n, num_classes = probabilities.shape
    counts = np.bincount(labels, minlength=num_classes)
    rows = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])  # of each class
    areas = []
    for start in range(0, num_classes, _BLOCK):
        columns = np.ascontiguousarray(probabilities[:, start : start + _BLOCK].T)  # [block, n]
        ranked = np.sort(columns, axis=1)
        for offset, (column, order) in enumerate(zip(columns, ranked, strict=True)):
            own = column[rows[start + offset]]
            if 0 < len(own) < n:
                areas.append(_area(own, order))
    return float(np.mean(areas)) if areas else None


def label_rankings(probabilities: NDArray[np.floating], truth: NDArray[np.bool_]) -> tuple[float | None, float | None]:
    """Area under the ROC curve and average precision of each label on its own, both averaged with equal weight.

    Average precision is the mean, over the pictures that a label applies to, of the precision at their probability.

    Args:
        probabilities: float [n, label] without NaN.
        truth: bool [n, label], whether the label applies.

    Returns:
        Two numbers, 0 to 1. Labels that apply to no picture are left out of both, those that apply to all of the
        first; None if none is left.
    """
    areas, precisions = [], []
    for start in range(0, probabilities.shape[1], _BLOCK):
        columns = np.ascontiguousarray(probabilities[:, start : start + _BLOCK].T)  # [block, n]
        applies = np.ascontiguousarray(truth[:, start : start + _BLOCK].T)
        for column, ranked, positive in zip(columns, np.sort(columns, axis=1), applies, strict=True):
            own = np.sort(column[positive])
            if 0 < len(own) < len(column):
                areas.append(_area(own, ranked))
            if len(own):
                precisions.append(_average_precision(own, ranked))
    return (
        float(np.mean(areas)) if areas else None,
        float(np.mean(precisions)) if precisions else None,
    )


def _average_precision(own: NDArray[np.floating], ranked: NDArray[np.floating]) -> float:
    """For the scores of the label's own pictures in order ([positive]) among all scores in order ([n])."""
    own_from = len(own) - np.searchsorted(own, own, side="left")
    all_from = len(ranked) - np.searchsorted(ranked, own, side="left")
    return float((own_from / all_from).mean())


def _area(own: NDArray[np.floating], ranked: NDArray[np.floating]) -> float:
    """Area for the scores of the class's own pictures ([positive]) among all scores in order ([n])."""
    positives, n = len(own), len(ranked)
    below = np.searchsorted(ranked, own, side="left")
    up_to = np.searchsorted(ranked, own, side="right")
    rank_sum = (below + up_to + 1).sum() / 2  # mean rank of equals, from 1
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * (n - positives)))
