"""How long a model file takes for pictures in memory, through ONNX Runtime, as a server would call it.

    fast, slow = latencies([Timed(int8, images), Timed(fp32, images)], seconds=2.0)

Several are measured in turns of a tenth of a second, each round in another order, so that a busy neighbour slows all of
them alike and ratios stay fair. Wall time is what a user waits for; the processor's time a call needs is given beside
it, since it hardly changes when other processes want the same cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.session import Session

TURN = 0.1  # seconds
WARM_UP_CALLS = 3


@dataclass(frozen=True)
class Latency:
    """Times of the calls of one candidate.

    Attributes:
        p50: Median wall time of a call, in milliseconds.
        p95: Of 100 calls, 95 took at most as long.
        p99: Of 100 calls, 99 took at most as long; with fewer than 100 calls it is little more than the slowest one.
        cpu: Median processor time of a call over all threads, in milliseconds.
        images_per_second: Pictures in all calls by their wall time.
        calls: How many were measured.
    """

    p50: float
    p95: float
    p99: float
    cpu: float
    images_per_second: float
    calls: int


@dataclass(frozen=True)
class Timed:
    """A model file and what it is asked.

    Attributes:
        path: An ONNX file of a bundle.
        images: uint8 [batch, height, width, channel], the pictures of every call.
        threads: Of the runtime, within one call.
    """

    path: Path
    images: NDArray[np.uint8]
    threads: int = 1


@dataclass
class _Clock:
    """What a candidate's calls have taken so far, in seconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def turn(self, call: Callable[[], object]) -> None:
        """Call for the length of a turn, at least once.

        The first of several calls is not counted: what it needs has been driven out of the caches by the others.
        """
        wall: list[float] = []
        cpu: list[float] = []
        end = time.perf_counter() + TURN
        while not wall or time.perf_counter() < end:
            cpu_start, start = time.process_time(), time.perf_counter()
            call()
            wall.append(time.perf_counter() - start)
            cpu.append(time.process_time() - cpu_start)
        first = 1 if len(wall) > 1 else 0
        self.wall += wall[first:]
        self.cpu += cpu[first:]


def latency(path: Path, images: NDArray[np.uint8], *, threads: int = 1, seconds: float = 2.0) -> Latency:
    """Times of one model file; to compare several, measure them together with `latencies`.

    Args:
        path: An ONNX file of a bundle.
        images: uint8 [batch, height, width, channel], the pictures of every call.
        threads: Of the runtime.
        seconds: How long to measure; one call at least.

    Raises:
        BundleError: The file can't be loaded or does not answer for such pictures.
    """
    return latencies([Timed(path, images, threads)], seconds=seconds)[0]


def latencies(candidates: Sequence[Timed], *, seconds: float = 2.0) -> list[Latency]:
    """Times of several model files, measured in turns; arguments and errors as `latency`'s."""
    sessions = {key: Session(key[0], threads=key[1]) for key in {(one.path, one.threads) for one in candidates}}
    calls = [partial(sessions[one.path, one.threads].run, one.images) for one in candidates]
    return time_in_turns(calls, images=[len(one.images) for one in candidates], seconds=seconds)


def time_in_turns(calls: Sequence[Callable[[], object]], *, images: Sequence[int], seconds: float) -> list[Latency]:
    """Times of anything that can be called: a bundle's session, a network of a framework, another runtime.

    Args:
        calls: Each answers for the same pictures every time.
        images: How many pictures each of them answers for in a call.
        seconds: How long each of them is measured; one call at least.
    """
    for call in calls:
        for _ in range(WARM_UP_CALLS):
            call()
    clocks = [_Clock() for _ in calls]
    order = list(range(len(calls)))
    while waiting := [index for index in order if sum(clocks[index].wall) < seconds]:
        for index in waiting:
            clocks[index].turn(calls[index])
        order.reverse()
    return [_summary(clock, count) for clock, count in zip(clocks, images, strict=True)]


def _summary(clock: _Clock, images: int) -> Latency:
    wall, cpu = np.array(clock.wall), np.array(clock.cpu)
    p50, p95, p99 = (float(value) for value in np.percentile(wall * 1000, (50, 95, 99)))
    return Latency(p50, p95, p99, float(np.median(cpu) * 1000), images * len(wall) / float(wall.sum()), len(wall))
