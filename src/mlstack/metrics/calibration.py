"""Calibration: do pictures that the network is 80 % sure of come out right 80 % of the time?

The expected calibration error of Guo et al., "On Calibration of Modern Neural Networks", https://arxiv.org/abs/1706.04599.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15  # as in the paper


@dataclass(frozen=True)
class CalibrationBins:
    """Pictures sorted into bins of equal width by their confidence, the first bin around 0; all arrays [bin].

    Attributes:
        pictures: int64, how many fell into the bin.
        confidence: float64, their mean confidence, 0 to 1; 0 in an empty bin.
        accuracy: float64, the share of them that is right, 0 to 1; 0 in an empty bin.
    """

    pictures: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error, 0 to 1: the mean gap between confidence and accuracy, weighted by pictures."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float((self.pictures * gaps).sum() / max(int(self.pictures.sum()), 1))


def calibration_bins(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], *, bins: int = BINS
) -> CalibrationBins:
    """Sort decisions into bins; bin m of M holds confidences above (m - 1) / M, up to and with m / M.

    Args:
        confidence: float [n], probability of the class that was decided for, 0 to 1, without NaN.
        right: bool [n], whether the decision is right.
        bins: How many.
    """
    exact = confidence.astype(np.float64)
    places = np.clip(np.ceil(exact * bins).astype(np.int64) - 1, 0, bins - 1)
    pictures = np.bincount(places, minlength=bins)
    at_least_one = np.maximum(pictures, 1)
    return CalibrationBins(
        pictures=pictures.astype(np.int64),
        confidence=np.bincount(places, weights=exact, minlength=bins) / at_least_one,
        accuracy=np.bincount(places, weights=right, minlength=bins) / at_least_one,
    )
