"""Temperature scaling: one number that makes a network as sure as it is right.

Guo et al., "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599: logits are divided by the
temperature that gives the least negative log-likelihood on held-out pictures. No decision changes. Deviations:

- It is found by bisection: the derivative of the likelihood by 1 / temperature grows with 1 / temperature.
- For several labels a picture each label's decision counts as one of two classes, by its sigmoid.
- Where the optimum lies outside of `RANGE` there is none to be found (a network that is always right on val would
  become infinitely sure), and the answer is 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlstack.metrics import bins_of_classes, calibration_bins, decided

RANGE = (0.01, 100.0)  # of temperatures
STEPS = 40  # halvings of that range: the logarithm is then exact to 1e-11
ROWS = 4096  # pictures at a time


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.generic], task: str) -> float:
    """What to divide logits by; 1 of a regression, without pictures, and where there is no optimum.

    Args:
        logits: float32 [n, class or label].
        labels: int64 [n] classes, or float [n, label] of 0 and 1.
        task: `data.task`.
    """
    if task == "regression" or not len(logits) or not np.isfinite(logits).all():
        return 1.0
    low, high = (float(np.log(1 / temperature)) for temperature in reversed(RANGE))
    if _slope(logits, labels, task, np.exp(low)) >= 0 or _slope(logits, labels, task, np.exp(high)) <= 0:
        return 1.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        if _slope(logits, labels, task, np.exp(middle)) > 0:
            high = middle
        else:
            low = middle
    return float(np.exp(-(low + high) / 2))


def _slope(logits: NDArray[np.float32], labels: NDArray[np.generic], task: str, factor: float) -> float:
    """Derivative of the summed negative log-likelihood by the factor that logits are multiplied with."""
    total = 0.0
    for start in range(0, len(logits), ROWS):
        scores = logits[start : start + ROWS].astype(np.float64)
        truth = labels[start : start + ROWS]
        chances = activated(scores * factor, task)
        if task == "multilabel":
            total += float(((chances - truth.astype(np.float64)) * scores).sum())
        else:
            of_label = np.take_along_axis(scores, truth.astype(np.int64)[:, None], axis=1)
            total += float((chances * scores).sum() - of_label.sum())
    return total


def activated(logits: NDArray[np.floating], task: str) -> NDArray[np.floating]:
    """From logits [n, answer], already divided by the temperature, to what the bundle answers; of the same type."""
    if task == "regression":
        return logits
    if task == "multilabel":
        chances: NDArray[np.floating] = 0.5 * (1 + np.tanh(0.5 * logits))  # the sigmoid, without overflow
        return chances
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.floating] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def calibration_error(outputs: NDArray[np.floating], labels: NDArray[np.generic], task: str) -> float:
    """Expected calibration error of decisions, 0 to 1: of each picture's class, or of each label of each picture."""
    if task == "multilabel":
        says = decided(outputs)
        confidence = np.where(says, outputs, 1 - outputs)
        right = says == (labels.astype(np.float64) > 0.5)
        return calibration_bins(confidence.ravel(), right.ravel()).error
    decisions = outputs.argmax(axis=1).astype(np.int64)
    return bins_of_classes(outputs, decisions, labels.astype(np.int64)).error
