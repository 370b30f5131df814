"""Random numbers without a state: each is a function of (seed, purpose, epoch, step) and its place in the batch.

A run that was killed goes on with the numbers that it would have seen, and the number of ranks changes none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ORDER, FLIP, CROP, RESIZED_CROP, ROTATION, COLOR_JITTER, ERASING = range(16, 23)  # one stream a purpose


def stream(seed: int, purpose: int, *, epoch: int, step: int = 0) -> np.random.Generator:
    """A generator of its own for one purpose, epoch and step: a counter-based one, so there is no state to restore."""
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, step, epoch]))


@dataclass(frozen=True)
class Draws:
    """The random numbers of one rank's part of one step.

    Attributes:
        seed: The run's seed.
        epoch: From 0.
        step: Within the epoch, from 0.
        total: Pictures in the global batch, over all ranks.
        part: Which of them are this rank's.
    """

    seed: int
    epoch: int
    step: int
    total: int
    part: slice

    def uniform(self, purpose: int, columns: int) -> NDArray[np.float64]:
        """float64 [batch, columns] in [0, 1), drawn for the global batch and cut to this rank's part."""
        numbers = stream(self.seed, purpose, epoch=self.epoch, step=self.step).random((self.total, columns))
        return numbers[self.part]
