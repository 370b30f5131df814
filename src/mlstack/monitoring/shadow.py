"""A model that gets every request too and never answers: how far its answers are from those that were given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.monitoring.arm_counts import LatencyHistogram, estimate
from mlstack.monitoring.sequential import rate_interval

ALPHA = 0.05


class ShadowComparison:
    """Counts of two models' answers to the same pictures, in constant memory. Not locked: one thread.

    Args:
        task: Of both: classification (the same class is agreement), multilabel (the same labels above 1/2), or
            regression (nothing is; only distances are counted).
        answers: Numbers in an answer: classes, or values.
    """

    def __init__(self, task: str, answers: int) -> None:
        self._task = task
        self._width = answers
        self._pictures = self._agreed = self._failed = self._dropped = 0
        self._distance = self._largest = 0.0
        self._seconds = (LatencyHistogram(), LatencyHistogram())

    def observe(
        self, given: NDArray[np.float32], shadow: NDArray[np.float32], *, seconds: float, shadow_seconds: float
    ) -> None:
        """Compare the answers to one request.

        Args:
            given: float32 [n, answer], what the client got.
            shadow: float32 [n, answer], what the shadow would have said.
            seconds: That the given answer took.
            shadow_seconds: That the shadow's took.

        Raises:
            ValueError: The shapes differ, or are not those of this comparison.
        """
        if given.shape != shadow.shape or given.ndim != 2 or given.shape[1] != self._width:
            wanted = f"expected two of [n, {self._width}]"
            raise ValueError(f"answers of the shapes {list(given.shape)} and {list(shadow.shape)}, {wanted}")
        if not given.size:
            return
        distance = np.abs(given - shadow).mean(axis=1, dtype=np.float64)
        self._pictures += len(given)
        self._distance += float(distance.sum())
        self._largest = max(self._largest, float(distance.max()))
        if self._task == "classification":
            self._agreed += int((given.argmax(axis=1) == shadow.argmax(axis=1)).sum())
        elif self._task == "multilabel":
            self._agreed += int(((given > 0.5) == (shadow > 0.5)).all(axis=1).sum())
        for histogram, value in zip(self._seconds, (seconds, shadow_seconds), strict=True):
            histogram.observe(value)

    def fail(self) -> None:
        """Count a request that the shadow could not answer."""
        self._failed += 1

    def drop(self) -> None:
        """Count a request that the shadow was not given, because it was busy."""
        self._dropped += 1

    def status(self) -> dict[str, Any]:
        """Figures for JSON; the distance is the mean absolute difference of an answer's numbers."""
        agreed = None
        if self._task != "regression":
            agreed = estimate(rate_interval(self._agreed, self._pictures, ALPHA), self._agreed, self._pictures)
        given, shadow = (histogram.quantile(0.5) * 1e3 for histogram in self._seconds)
        return {
            "pictures": self._pictures,
            "requests": self._seconds[0].count,
            "failed": self._failed,
            "dropped": self._dropped,
            "agreement": agreed,
            "distance": {"mean": self._distance / max(1, self._pictures), "largest": self._largest},
            "p50_ms": {"given": round(given, 4), "shadow": round(shadow, 4)},
        }
