"""How busy a container is and what memory it holds, about once a second, as its engine counts it."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mlstack.validation.container import ContainerProgram

# Docker counts in powers of 1024, Podman in powers of 1000; each names its unit accordingly.
UNITS = {"B": 1, "kB": 1000, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
MEBIBYTE = 1024**2
SAMPLE = re.compile(r"(\d+(?:\.\d+)?)%\s+(\d+(?:\.\d+)?)\s*([kKMG]?i?B)")


@dataclass(frozen=True)
class Sample:
    """One reading.

    Attributes:
        at: When, in seconds of `time.monotonic`.
        cores: Busy cores since the reading before.
        memory_mb: In use without the file cache, in MiB.
    """

    at: float
    cores: float
    memory_mb: float


class ContainerSampler:
    """Reads along while a block runs: `with ContainerSampler(program, "name") as sampler: …; sampler.samples`."""

    def __init__(self, program: ContainerProgram, container: str) -> None:
        self.samples: list[Sample] = []
        self._command = [program.path, "stats", "--format", "{{.CPUPerc}} {{.MemUsage}}", container]

    def __enter__(self) -> ContainerSampler:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()  # it only reads, and Docker's client 28 does not end at SIGTERM once the container has
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if (sample := parse(line, at=time.monotonic())) is not None:
                self.samples.append(sample)


def parse(line: str, *, at: float) -> Sample | None:
    """A line of `docker stats`; None for what is no reading: of a container that is not there yet, or not any more."""
    if (match := SAMPLE.search(line)) is None:
        return None
    percent, size, unit = match.groups()
    memory = float(size) * UNITS[unit] / MEBIBYTE
    return Sample(at, float(percent) / 100, memory) if memory > 0 else None


def peak_memory(samples: Sequence[Sample]) -> float | None:
    """The greatest reading, in MiB; None without any."""
    return max((sample.memory_mb for sample in samples), default=None)


def busiest(samples: Sequence[Sample], seconds: float) -> float | None:
    """Mean of busy cores over the busiest stretch of so many seconds.

    Of a run that imports, trains and draws figures this is the training, whose length the run itself has told.

    Args:
        samples: In their order, about one a second.
        seconds: Length of the stretch.

    Returns:
        Cores; None where there are fewer than 3 readings within such a stretch.
    """
    means: list[float] = []
    for first, start in enumerate(samples):
        stretch = [sample.cores for sample in samples[first:] if sample.at - start.at <= seconds]
        ends = samples[-1].at - start.at >= seconds - 1
        if len(stretch) >= 3 and (ends or not means):
            means.append(sum(stretch) / len(stretch))
    return max(means, default=None)
