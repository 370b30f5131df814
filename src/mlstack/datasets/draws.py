"""Random numbers without a state: each is a function of (seed, purpose, epoch, step) and its place in the batch.

A run that was killed goes on with the numbers that it would have seen, and the number of ranks changes none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ORDER, FLIP, CROP, RESIZED_CROP, ROTATION, COLOR_JITTER, ERASING = range(16, 23)  # one stream a purpose
ALTERNATING_FLIP, MIXING, MIXUP, CUTMIX, BALANCE = range(23, 28)

GOLDEN = 0x9E3779B97F4A7C15  # 2⁶⁴ / golden ratio, as in SplitMix64 (https://doi.org/10.1145/2660193.2660195)
WORD = 2**64 - 1


def stream(seed: int, purpose: int, *, epoch: int, step: int = 0) -> np.random.Generator:
    """A generator of its own for one purpose, epoch and step: a counter-based one, so there is no state to restore."""
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, step, epoch]))


def coins(seed: int, purpose: int, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """A coin for each index that depends on neither epoch nor place: bool [batch], half of them true.

    SplitMix64's output function of (seed, purpose, index): nothing is kept, however large the data set.
    """
    start = stream(seed, purpose, epoch=0).integers(WORD, dtype=np.uint64, endpoint=True)
    mixed = indices.astype(np.uint64) * np.uint64(GOLDEN) + start
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(63), np.bool_)


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
