"""What a data set is to the rest of the house: named splits of uint8 images with labels, no framework."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")
Labels = NDArray[np.int64] | NDArray[np.float32]


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
        """The pictures at `indices` (int64 [batch]) as uint8 [batch, side, side, channel], in memory of their own."""
        ...


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
        images: The pictures.
        labels: By the data set's task. classification: int64 [n], each an index into the classes.
            multilabel: float32 [n, label], 0 or 1. regression: float32 [n, target], in the targets' own units.
        names: What each picture is called in a table: a path relative to the data folder, or "test/17".
    """

    images: Images
    labels: Labels
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """Pictures in named splits, and what follows from them.

    Attributes:
        name: `digits`, `cifar10`, ….
        classes: Names of the classes in the order of their labels; of the labels, or of a regression's targets.
        image_size: Height and width of the network's input, in pixels.
        channels: 1 or 3.
        mean: Mean of each channel over the training pictures, 0 to 1.
        std: Standard deviation of each channel, 0 to 1.
        splits: `train`, `val` and `test`.
        fingerprint: Hex digest over names, sizes and content: equal means the same data in the same splits.
        task: `classification`, `multilabel` or `regression`.
        target_mean: Mean of each target over the training pictures, in its own units; None unless a regression.
        target_std: Standard deviation of each target, above 0; None unless a regression.
    """

    name: str
    classes: tuple[str, ...]
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    splits: Mapping[str, Split]
    fingerprint: str = field(default="")
    task: str = "classification"
    target_mean: tuple[float, ...] | None = None
    target_std: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Batch:
    """What a training step sees.

    Attributes:
        images: uint8 [batch, height, width, channel], cropped to the network's input; not yet normalised.
        labels: int64 [batch] of classes; float32 [batch, class] once MixUp or CutMix has blended them (each row sums
            to 1); float32 [batch, label or target] of the other tasks.
        indices: int64 [batch], positions in the split.
    """

    images: NDArray[np.uint8]
    labels: Labels
    indices: NDArray[np.int64]
