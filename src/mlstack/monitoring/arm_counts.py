"""What is counted for one arm of an experiment, in a few kilobytes however long it runs."""

from __future__ import annotations

import math
from array import array
from typing import Any

from mlstack.monitoring.sequential import BoundedMean, credible_counts, rate_interval

SHORTEST = 1e-5  # seconds; anything shorter counts as this
GROWTH = 1.02  # of a bin's upper edge to its lower one: a quantile is off by at most 1 %
BINS = 931  # up to 1000 seconds
PER_LOG = 1 / math.log(GROWTH)
LONGEST = SHORTEST * GROWTH ** (BINS - 0.5)


class LatencyHistogram:
    """Seconds in bins of 2 %, from 10 microseconds to 1000 seconds."""

    __slots__ = ("_bins", "count")

    def __init__(self) -> None:
        self._bins = array("Q", bytes(8 * BINS))
        self.count = 0

    def observe(self, seconds: float) -> None:
        self.count += 1
        at = int(math.log(min(seconds, LONGEST) / SHORTEST) * PER_LOG) if seconds > SHORTEST else 0
        self._bins[at] += 1

    def quantile(self, part: float) -> float:
        """Seconds that this part (0 to 1) of the answers took at most; 0 before the first answer."""
        if not self.count:
            return 0.0
        return edge_of(self._bin_of(max(1, math.ceil(part * self.count))) + 0.5)

    def interval(self, part: float, alpha: float) -> tuple[float, float]:
        """Seconds, low and high, that hold the true quantile at all times at once with a chance of 1 − alpha.

        A value is the quantile if this part of all answers is below it: `rate_interval` says of which values that can
        be true. Both ends are moved outwards to the edge of their bin; high is infinite while too little is known.
        """
        low, high = credible_counts(part, self.count, alpha)
        shortest = edge_of(self._bin_of(low)) if low > 0 else 0.0
        return shortest, edge_of(self._bin_of(high + 1) + 1) if high < self.count else math.inf

    def _bin_of(self, rank: int) -> int:
        """Bin of the answer with this rank, counted from 1."""
        for at, inside in enumerate(self._bins):
            rank -= inside
            if rank <= 0:
                return at
        return BINS - 1


class ArmCounts:
    """Requests, failures, latency, confidence and feedback of one arm."""

    __slots__ = ("confidence", "failed", "labels", "latency", "requests", "right")

    def __init__(self) -> None:
        self.requests = self.failed = self.labels = self.right = 0
        self.latency = LatencyHistogram()
        self.confidence = BoundedMean()

    def record(self, *, failed: bool, seconds: float, confidence: float | None) -> None:
        self.requests += 1
        self.failed += failed
        self.latency.observe(seconds)
        if confidence is not None and math.isfinite(confidence):
            self.confidence.observe(confidence)

    def feedback(self, *, right: bool) -> None:
        self.labels += 1
        self.right += right

    def status(self, alpha: float) -> dict[str, Any]:
        """Figures with confidence sequences of level 1 − alpha each; milliseconds; None where nothing is known."""
        return {
            "requests": self.requests,
            "failed": self.failed,
            "error_rate": estimate(self.error_rate(alpha), self.failed, self.requests),
            "latency_ms": {"p50": self._quantile(0.5, alpha), "p95": self._quantile(0.95, alpha)},
            "confidence": estimate(
                self.confidence.interval(alpha), self.confidence.mean, min(1, self.confidence.count)
            ),
            "labels": self.labels,
            "accuracy": estimate(self.accuracy(alpha), self.right, self.labels),
        }

    def error_rate(self, alpha: float) -> tuple[float, float]:
        """Interval of the share of failed answers."""
        return rate_interval(self.failed, self.requests, alpha)

    def accuracy(self, alpha: float) -> tuple[float, float]:
        """Interval of the share of right answers, among those with a true label."""
        return rate_interval(self.right, self.labels, alpha)

    def _quantile(self, part: float, alpha: float) -> dict[str, float | None] | None:
        if not self.requests:
            return None
        low, high = self.latency.interval(part, alpha)
        high_ms = None if math.isinf(high) else round(high * 1e3, 4)
        return {"value": round(self.latency.quantile(part) * 1e3, 4), "low": round(low * 1e3, 4), "high": high_ms}


def estimate(interval: tuple[float, float], total: float, count: int) -> dict[str, float] | None:
    """A figure and its interval for JSON; None before the first observation."""
    if not count:
        return None
    return {"value": round(total / count, 6), "low": round(interval[0], 6), "high": round(interval[1], 6)}


def edge_of(place: float) -> float:
    """Seconds at a place on the scale of bins: 3.0 is the lower edge of bin 3, 3.5 its geometric middle."""
    return SHORTEST * math.exp(place / PER_LOG)
