"""Two training loops that take turns, step by step, so that a busy moment of the machine meets both."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

import numpy as np
from numpy.typing import NDArray

from mlstack.datasets.base import Images


class Turns:
    """Pictures that, each time the engine reads a batch of them, first let the other loop take a step.

    Args:
        images: The pictures.
        other: Takes a step whenever it is asked for the next item.
        first: The reading that starts the clock.
        last: The reading that stops it.

    Attributes:
        theirs: CPU seconds of the other loop, which runs in this thread only.
        ours: All other CPU seconds of the process, a tracker's threads included.
    """

    def __init__(self, images: Images, other: Iterator[None], *, first: int, last: int) -> None:
        self.images, self.side, self.channels = images, images.side, images.channels
        self.other, self.first, self.last = other, first, last
        self.readings = count()
        self.theirs, self.ours, self._start = 0.0, 0.0, 0.0

    def __len__(self) -> int:
        return len(self.images)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        reading = next(self.readings)
        if reading == self.first:
            self._start = time.process_time()
        elif reading == self.last:
            self.ours = time.process_time() - self._start - self.theirs
        start = time.thread_time()
        next(self.other)
        if self.first <= reading < self.last:
            self.theirs += time.thread_time() - start
        return self.images.read(indices)
