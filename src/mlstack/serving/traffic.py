"""How the last minute went: requests a second, latencies, batches. Bounded memory: a row of counts for each second."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

SECONDS = 60  # that are looked back on
SHORT = 10  # seconds that rates are averaged over
SMALLEST = 1e-4  # seconds: the upper edge of the first class of latencies
GROWTH = 1.15  # from one class to the next: percentiles, told by the middle of a class, are right to 7 %
CLASSES = 100  # up to 100 seconds


@dataclass(slots=True)
class _Second:
    number: int = -1
    requests: int = 0
    errors: int = 0
    images: int = 0
    batches: int = 0
    batched_images: int = 0
    latencies: list[int] = field(default_factory=lambda: [0] * CLASSES)


class Traffic:
    """Counts of the last `SECONDS`, second by second. For one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seconds = [_Second() for _ in range(SECONDS)]

    def record(self, seconds: float, *, images: int, failed: bool) -> None:
        """Count an answered request: its latency, its pictures, and whether it was the service's fault."""
        now = self._now()
        now.requests += 1
        now.images += images
        now.errors += failed
        now.latencies[_class_of(seconds)] += 1

    def batch(self, images: int) -> None:
        """Count a batch that was computed."""
        now = self._now()
        now.batches += 1
        now.batched_images += images

    def summary(self) -> dict[str, float | None]:
        """Rates over the last seconds, percentiles in milliseconds over the last minute; null where nothing came."""
        last = int(self._clock())
        minute = [one for one in self._seconds if last - SECONDS < one.number <= last]
        short = [one for one in minute if last - SHORT <= one.number < last]
        counts = [sum(row) for row in zip(*(one.latencies for one in minute), strict=True)] or [0] * CLASSES
        batches = sum(one.batches for one in minute)
        return {
            "requests_per_s": sum(one.requests for one in short) / SHORT,
            "images_per_s": sum(one.images for one in short) / SHORT,
            "errors_per_s": sum(one.errors for one in short) / SHORT,
            **{f"p{share}_ms": _percentile(counts, share / 100) for share in (50, 95, 99)},
            "batch_mean": sum(one.batched_images for one in minute) / batches if batches else None,
        }

    def _now(self) -> _Second:
        number = int(self._clock())
        second = self._seconds[number % SECONDS]
        if second.number != number:
            second = self._seconds[number % SECONDS] = _Second(number)
        return second


def _class_of(seconds: float) -> int:
    if seconds <= SMALLEST:
        return 0
    return min(CLASSES - 1, 1 + int(math.log(seconds / SMALLEST) / math.log(GROWTH)))


def _percentile(counts: Sequence[int], share: float) -> float | None:
    """The middle of the class in which that share of all latencies is reached, in milliseconds."""
    total = sum(counts)
    if not total:
        return None
    for place, reached in enumerate(_running(counts)):
        if reached >= share * total:
            return round(SMALLEST * math.pow(GROWTH, place - 0.5) * 1000, 2)
    raise AssertionError("the last class reaches all of them")


def _running(counts: Sequence[int]) -> Iterator[int]:
    total = 0
    for count in counts:
        total += count
        yield total
