"""A data set that a user might bring along: some of scikit-learn's digits, with splits of a chosen size."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mlstack.config import DataConfig
from mlstack.datasets import Dataset, digits
from mlstack.datasets.build import dataset_from_arrays
from mlstack.datasets.images import ArrayImages
from mlstack.errors import DataError

SIZES = {"train": 96, "val": 40, "test": 30}


@cache
def _whole() -> Dataset:
    return digits.load(DataConfig(name="digits"))


def load(config: DataConfig) -> Dataset:
    """The first pictures of each split; `data.args` may name other sizes."""
    whole = _whole()
    sizes = {**SIZES, **config.args}
    parts = {
        name: (split.images.pictures[: sizes[name]], split.labels[: sizes[name]])  # type: ignore[attr-defined]
        for name, split in whole.splits.items()
    }
    return dataset_from_arrays(config, parts, name="few_digits", classes=whole.classes)


class Failing(ArrayImages):
    """Pictures of which only the first so many batches can be read."""

    def __init__(self, pictures: NDArray[np.uint8], error: type[BaseException], after: int) -> None:
        super().__init__(pictures)
        self.error, self.left = error, after

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        if self.left == 0:
            raise self.error("stopped on purpose")
        self.left -= 1
        return super().read(indices)


def _failing(config: DataConfig, error: type[BaseException], after: int) -> Dataset:
    dataset = load(config)
    train = dataset.splits["train"]
    images = Failing(train.images.read(np.arange(len(train))), error, after)
    return replace(dataset, splits={**dataset.splits, "train": replace(train, images=images)})


def interrupting(config: DataConfig) -> Dataset:
    """Ctrl-C comes in the second epoch."""
    return _failing(config, KeyboardInterrupt, after=8)


def unreadable(config: DataConfig) -> Dataset:
    """No picture can be read."""
    return _failing(config, DataError, after=0)


def crashing(config: DataConfig) -> Dataset:
    """A bug shows up in the second epoch."""
    return _failing(config, RuntimeError, after=8)


def corrupted(config: DataConfig) -> Dataset:
    """All the digits; of the training labels, those of the odd digits say the next digit."""
    whole = _whole()
    parts = {
        name: (split.images.read(np.arange(len(split))), split.labels.copy()) for name, split in whole.splits.items()
    }
    labels = parts["train"][1]
    labels[labels % 2 == 1] = (labels[labels % 2 == 1] + 1) % 10
    return dataset_from_arrays(config, parts, name="corrupted_digits", classes=whole.classes)


TEST_PICTURES_ARE_BROKEN = True


def breaking(config: DataConfig) -> Dataset:
    """No picture of the test split can be read while `TEST_PICTURES_ARE_BROKEN`."""
    dataset = load(config)
    if not TEST_PICTURES_ARE_BROKEN:
        return dataset
    test = dataset.splits["test"]
    images = Failing(test.images.read(np.arange(len(test))), DataError, after=0)
    return replace(dataset, splits={**dataset.splits, "test": replace(test, images=images)})
