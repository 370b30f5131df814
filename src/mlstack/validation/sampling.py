"""What a process and its GPU are busy with, looked at five times a second by a thread of the process that started it.

Processor time and resident memory are those of the process and of all its descendants, from /proc; where there is no
/proc they are None.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlstack.validation.nvml import LOOKS_BACK, Gpu

EVERY = 0.2  # seconds
PROC = Path("/proc")
Span = tuple[float, float]  # beginning and end, in seconds since the epoch


@dataclass(frozen=True)
class Sample:
    """One look.

    Attributes:
        at: Seconds since the epoch.
        cpu_seconds: Processor time of the process and its descendants so far.
        rss_mb: Their resident memory in MiB.
        gpu_busy: Share of the last second in which the GPU ran a kernel, 0 to 1.
        gpu_memory: Share of the GPU's memory that is in use, 0 to 1.
    """

    at: float
    cpu_seconds: float | None = None
    rss_mb: float | None = None
    gpu_busy: float | None = None
    gpu_memory: float | None = None


class Sampler:
    """Looks at a process for as long as the block lasts.

        with Sampler(process.pid, gpu) as sampler:
            process.wait()
        sampler.samples

    Args:
        pid: The process.
        gpu: The GPU that it trains on; None on a CPU.
        every: Seconds between two looks.
    """

    def __init__(self, pid: int, gpu: Gpu | None = None, *, every: float = EVERY) -> None:
        self.samples: list[Sample] = []
        self._pid = pid
        self._gpu = gpu
        self._every = every
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="sampler", daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.samples.append(look(self._pid, self._gpu))
            if self._ended.wait(self._every):
                return


def look(pid: int, gpu: Gpu | None) -> Sample:
    """One sample, now."""
    cpu_seconds, rss_mb = usage(pid)
    busy, memory = (gpu.busy(), gpu.memory()) if gpu else (None, None)
    return Sample(time.time(), cpu_seconds, rss_mb, busy, memory)


def usage(pid: int, proc: Path = PROC) -> tuple[float | None, float | None]:
    """Processor seconds and resident MiB of a process and its descendants; None for one that has ended, or no /proc.

    The time of a descendant that has ended counts with the one that waited for it.
    """
    parents: dict[int, int] = {}
    figures: dict[int, tuple[int, int]] = {}  # ticks and pages
    for folder in proc.glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has just ended
            # The name stands in brackets and may hold blanks and brackets itself.
            row = (folder / "stat").read_text().rpartition(")")[2].split()
            ticks = sum(int(value) for value in row[11:15])  # own and waited-for, user and system
            parents[int(folder.name)], figures[int(folder.name)] = int(row[1]), (ticks, int(row[21]))
    if pid not in figures:
        return None, None
    family = {pid}
    while grown := {one for one, parent in parents.items() if parent in family and one in figures} - family:
        family |= grown
    ticks, pages = (sum(figures[one][place] for one in family) for place in (0, 1))
    return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def gpu_utilization(samples: Sequence[Sample], spans: Sequence[Span]) -> float | None:
    """Mean of the GPU's busy share over the spans, 0 to 1; None where nothing could be sampled.

    What NVML tells in a span's first second is of the time before it, and left out.
    """
    busy = [
        sample.gpu_busy
        for sample in samples
        if sample.gpu_busy is not None and any(start + LOOKS_BACK <= sample.at <= end for start, end in spans)
    ]
    return sum(busy) / len(busy) if busy else None


def gpu_memory(samples: Sequence[Sample]) -> float | None:
    """Greatest share of the GPU's memory that was in use at any time, 0 to 1."""
    return max((sample.gpu_memory for sample in samples if sample.gpu_memory is not None), default=None)


def peak_rss_mb(samples: Sequence[Sample]) -> float | None:
    """Most resident memory at any time, in MiB."""
    return max((sample.rss_mb for sample in samples if sample.rss_mb is not None), default=None)


def cores_busy(samples: Sequence[Sample], spans: Sequence[Span]) -> float | None:
    """Cores that were kept busy within the spans, on average; None where no span holds two samples."""
    seconds = cpu = 0.0
    for start, end in spans:
        within = [
            (sample.at, sample.cpu_seconds)
            for sample in samples
            if start <= sample.at <= end and sample.cpu_seconds is not None
        ]
        if len(within) > 1:
            seconds += within[-1][0] - within[0][0]
            cpu += within[-1][1] - within[0][1]
    return cpu / seconds if seconds else None
