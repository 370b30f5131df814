"""What is kept of the past in memory that doesn't grow: the newest rows, an even sample, the newest seconds."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Ring:
    """The newest rows of a table. Not safe for several threads: the owner has a lock.

    Args:
        size: Rows that are kept.
        columns: Of the table.
        dtype: Of its values.
    """

    def __init__(self, size: int, columns: int, dtype: type[Any]) -> None:
        self._rows = np.zeros((size, columns), dtype)
        self._next = 0
        self.filled = 0

    def push(self, rows: NDArray[Any]) -> None:
        """Add rows [n, columns], the newest last."""
        size = len(self._rows)
        rows = rows[-size:]
        end = self._next + len(rows)
        if end <= size:
            self._rows[self._next : end] = rows
        else:
            self._rows[(self._next + np.arange(len(rows))) % size] = rows
        self._next = end % size
        self.filled = min(size, self.filled + len(rows))

    def copy(self) -> NDArray[Any]:
        """The rows that are kept [filled, columns], in no particular order."""
        return self._rows[: self.filled].copy()


class EvenSampler:
    """Picks some of the pictures that go by, evenly spread, and at most so many a second.

    How many of the last second's pictures would have been enough says how many of this second's are taken. So a busy
    second is not stood for by its first pictures. A bucket of one second's worth caps what a sudden rush can take.

    Args:
        per_second: Most pictures in a second, on average.
        clock: Seconds that never run backwards.
    """

    def __init__(self, per_second: float, *, clock: Callable[[], float]) -> None:
        self._per_second, self._clock = per_second, clock
        self._room = self._largest = max(1.0, per_second)
        self._filled_at = self._second_began = clock()
        self._seen = self._owed = 0.0
        self._share = 1.0

    def take(self, count: int) -> list[int]:
        """Places of those of the next `count` pictures that are looked at."""
        now = self._clock()
        self._room = min(self._largest, self._room + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        elapsed = now - self._second_began
        if elapsed >= 1:
            rate = self._seen / elapsed
            self._share = 1.0 if rate <= self._per_second else self._per_second / rate
            self._seen, self._second_began = 0.0, now
        self._seen += count
        self._owed = min(self._owed + count * self._share, float(count))
        taken = min(int(self._owed), int(self._room))
        self._owed -= int(self._owed)
        self._room -= taken
        return [place * count // taken for place in range(taken)]


class WindowFigures(NamedTuple):
    """Requests of a window.

    Attributes:
        requests: How many.
        failed: Share that failed, 0 to 1.
        p95: 95th percentile of latency in seconds, to within 3 %.
        confidence: Mean confidence; None where no answer had one.
    """

    requests: int
    failed: float
    p95: float
    confidence: float | None


class RequestWindow:
    """Latency, failures and confidence of the newest seconds: a histogram for each sixtieth of the window.

    Args:
        seconds: How far it looks back.
        clock: Seconds that never run backwards.
    """

    SLICES = 60
    RATIO = 1.05  # of neighbouring edges of the histogram, which go from 0.1 ms to 140 s
    EDGES = tuple(1e-4 * 1.05**power for power in range(291))

    def __init__(self, seconds: float, *, clock: Callable[[], float]) -> None:
        self._slice_s, self._clock = seconds / self.SLICES, clock
        self._latency = np.zeros((self.SLICES, len(self.EDGES) + 1), np.int32)
        self._sums = np.zeros((self.SLICES, 4))  # requests, failed, sum of confidences, answers with a confidence
        self._now = math.floor(clock() / self._slice_s)

    def add(self, seconds: float, *, failed: bool, confidence: float | None) -> None:
        row = self._advance()
        self._latency[row, bisect_left(self.EDGES, seconds)] += 1
        sums = self._sums[row]
        sums[0] += 1
        sums[1] += failed
        if confidence is not None:
            sums[2] += confidence
            sums[3] += 1

    def figures(self) -> WindowFigures:
        self._advance()
        requests, failed, confidence, confident = self._sums.sum(axis=0).tolist()
        if not requests:
            return WindowFigures(0, 0.0, 0.0, None)
        below = np.cumsum(self._latency.sum(axis=0))
        place = int(np.searchsorted(below, 0.95 * requests))
        p95 = self.EDGES[min(place, len(self.EDGES) - 1)] / math.sqrt(self.RATIO)
        return WindowFigures(int(requests), failed / requests, p95, confidence / confident if confident else None)

    def _advance(self) -> int:
        """The row of the present slice; rows of slices that have passed since are emptied."""
        now = math.floor(self._clock() / self._slice_s)
        for step in range(max(self._now + 1, now - self.SLICES + 1), now + 1):
            self._latency[step % self.SLICES] = 0
            self._sums[step % self.SLICES] = 0
        self._now = max(self._now, now)
        return self._now % self.SLICES
