"""Fair timing for the benchmarks: contenders take turns, CPU seconds count, results come as a ratio with its bar."""

from __future__ import annotations

import contextlib
import ctypes
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def keep_memory() -> None:
    """Have glibc keep freed memory; else it hands activations back after some steps and not after others.

    By chance that costs one of two contenders 0 to 6,000 page faults a step, a tenth of its time.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            libc = ctypes.CDLL("libc.so.6")
            for parameter in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
                libc.mallopt(parameter, 2**30)


def interleave(contenders: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Run the contenders in turns, so that a busy moment of the machine meets all of them.

    Args:
        contenders: Name → what to time; each runs once beforehand, untimed.
        repeats: Rounds.

    Returns:
        Name → CPU seconds of this process (all threads), one a round.
    """
    for contender in contenders.values():
        contender()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            start = time.process_time()
            contender()
            seconds[name].append(time.process_time() - start)
    return seconds


def median_ratio(seconds: Sequence[float], reference: Sequence[float]) -> float:
    """How many times as fast as the reference: the median over the rounds of reference / seconds."""
    return statistics.median(theirs / ours for ours, theirs in zip(seconds, reference, strict=True))


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: The contender.
        rate: Its speed in the table's unit.
        ratio: To the reference; None for the reference itself.
        bar: What the ratio should reach; None where nothing was set.
        note: What else there is to say, at the end of the line.
    """

    name: str
    rate: float
    ratio: float | None = None
    bar: float | None = None
    note: str = ""


def print_table(title: str, unit: str, rows: Sequence[Row]) -> None:
    """Print speeds, ratios, bars and whether each is reached."""
    width = max(len(row.name) for row in rows)
    print(f"\n{title}")
    print(f"{'':{width}}  {unit:>18}  {'ratio':>7}  {'bar':>6}")
    for row in rows:
        rate = f"{row.rate:,.0f}" if row.rate >= 100 else f"{row.rate:.3g}"
        ratio = "" if row.ratio is None else f"{row.ratio:.3g} ×"
        bar = "" if row.bar is None else f"{row.bar:g} ×"
        verdict = "" if row.ratio is None or row.bar is None else "ok" if row.ratio >= row.bar else "short"
        print(f"{row.name:{width}}  {rate:>18}  {ratio:>7}  {bar:>6}  {verdict:<5}  {row.note}".rstrip())
