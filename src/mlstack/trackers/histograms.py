"""Histograms of the weights, for the trackers that can show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

BINS = 64


@dataclass(frozen=True)
class Histogram:
    """How the finite values of one parameter are spread.

    Attributes:
        counts: int64 [bin].
        edges: float64 [bin + 1].
        total: Sum of the values.
        squares: Sum of their squares.
    """

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    total: float
    squares: float


@runtime_checkable
class ShowsHistograms(Protocol):
    """A tracker that has a place for them."""

    def record_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None: ...


def log_histograms(
    trackers: Iterable[object], parameters: Iterable[tuple[str, NDArray[np.floating[Any]]]], *, step: int
) -> None:
    """Send histograms of parameters to the trackers that show them.

    Args:
        trackers: From `build_trackers`.
        parameters: Names, and float arrays of any shape. A generator, best of all: where no tracker shows histograms,
            such as on ranks without one, none is asked for, and the weights need not be copied from the device.
        step: Optimizer steps taken.
    """
    showing = [tracker for tracker in trackers if isinstance(tracker, ShowsHistograms)]
    if not showing:
        return
    histograms = {name: one for name, values in parameters if (one := histogram(values)) is not None}
    for tracker in showing:
        tracker.record_histograms(histograms, step)


def histogram(values: NDArray[np.floating[Any]]) -> Histogram | None:
    """Count values in equal bins; NaN and infinity are left out, and None means that nothing is left."""
    finite = values[np.isfinite(values)].astype(np.float64)  # [n], whatever the shape was
    if not finite.size:
        return None
    counts, edges = np.histogram(finite, bins=BINS)
    return Histogram(counts, edges, float(finite.sum()), float(np.square(finite).sum()))
