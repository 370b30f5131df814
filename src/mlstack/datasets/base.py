"""What a data set is to the rest of the house: named splits of uint8 images with labels, no framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")


class Images(Protocol):
    """A sequence of square pictures, in memory or on disk.

    Attributes:
        side: Height and width of what `read` returns, in pixels; at least the network's input size.
        channels: 1 = grey, 3 = colour.
    """

    side: int
    channels: int

    def __len__(self) -> int: ...

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pictures at `indices` (int64 [batch]) as uint8 [batch, side, side, channel]; may be a view."""
        ...


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
        images: The pictures.
        labels: int64 [n], each an index into the data set's classes.
        names: What each picture is called in a table: a path relative to the data folder, or "test/17".
    """

    images: Images
    labels: NDArray[np.int64]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """Pictures in named splits, and what follows from them.

    Attributes:
        name: `digits`, `cifar10`, ….
        classes: Class names in the order of their labels.
        image_size: Height and width of the network's input, in pixels.
        channels: 1 or 3.
        mean: Mean of each channel over the training pictures, 0 to 1.
        std: Standard deviation of each channel, 0 to 1.
        splits: `train`, `val` and `test`.
        fingerprint: Hex digest over names, sizes and content: equal means the same data in the same splits.
    """

    name: str
    classes: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    splits: Mapping[str, Split]
    fingerprint: str = field(default="")


@dataclass(frozen=True)
class Batch:
    """What a training step sees.

    Attributes:
        images: uint8 [batch, height, width, channel], cropped to the network's input; not yet normalised.
        labels: int64 [batch].
        indices: int64 [batch], positions in the split.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
