"""Some of scikit-learn's digits, whose reader stands still once, at a chosen batch: there a host can be lost."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import few_digits
import numpy as np
from numpy.typing import NDArray

from mlstack.config import DataConfig
from mlstack.datasets import Dataset
from mlstack.datasets.images import ArrayImages

# A file; the process that finds none there makes it, writes its number into it and waits to be killed.
HOLD_VARIABLE = "TEST_HOLD"
HOLD_AT = 41  # reads of training pictures: two to derive settings, then one a batch


class Held(ArrayImages):
    """Pictures that are read at most so many times before the reader is held."""

    def __init__(self, pictures: NDArray[np.uint8], note: Path) -> None:
        super().__init__(pictures)
        self.note, self.reads = note, 0

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.reads += 1
        if self.reads == HOLD_AT and not self.note.exists():
            unfinished = self.note.with_suffix(".part")
            unfinished.write_text(str(os.getpid()))
            unfinished.rename(self.note)
            signal.pause()
        return super().read(indices)


def load(config: DataConfig) -> Dataset:
    """`few_digits`, held where the environment says so."""
    dataset = few_digits.load(config)
    if note := os.environ.get(HOLD_VARIABLE):
        train = dataset.splits["train"]
        images = Held(train.images.read(np.arange(len(train))), Path(note))
        dataset = replace(dataset, splits={**dataset.splits, "train": replace(train, images=images)})
    return dataset
