"""The three places where pictures lie: in memory, in image files, in a file of decoded pictures; and some of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.datasets.base import Images
from mlstack.datasets.decode import decode_file
from mlstack.datasets.resample import Window


class ArrayImages:
    """Pictures in memory: uint8 [n, side, side, channel].

    A worker process that is forked shares the array; one that is spawned gets a copy.
    """

    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        self.pictures = np.ascontiguousarray(pictures)
        self.side = int(pictures.shape[1])
        self.channels = int(pictures.shape[3])

    def __len__(self) -> int:
        return len(self.pictures)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A copy of the pictures at `indices`: uint8 [batch, side, side, channel]."""
        return self.pictures[indices]


class FileImages:
    """Pictures in image files, decoded whenever they are read.

    Args:
        root: The folder that `names` are relative to.
        names: A file each.
        side: Height and width after decoding, in pixels.
        channels: 1 or 3.
        resize: How another shape becomes a square, see `decode.py`.
    """

    def __init__(self, root: Path, names: Sequence[str], *, side: int, channels: int, resize: str) -> None:
        self.root = root
        self.names = tuple(names)
        self.side = side
        self.channels = channels
        self.resize = resize

    def __len__(self) -> int:
        return len(self.names)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Decode the files at `indices` into uint8 [batch, side, side, channel]; DataError names a broken one."""
        pictures = np.empty((len(indices), self.side, self.side, self.channels), np.uint8)
        for row, index in enumerate(indices):
            pictures[row] = self.decode(int(index))
        return pictures

    def decode(self, index: int, window: Window | None = None) -> NDArray[np.uint8]:
        """One picture, uint8 [side, side, channel], or the window of it."""
        path = self.root / self.names[index]
        return decode_file(path, side=self.side, channels=self.channels, resize=self.resize, window=window)


class MappedImages:
    """Some rows of a .npy file of decoded pictures, uint8 [n, side, side, channel], mapped rather than loaded.

    Only the path and the row numbers travel to a worker process; it maps the file anew.

    Args:
        path: The .npy file.
        rows: int64 [m], the rows that are these pictures.
    """

    def __init__(self, path: Path, rows: NDArray[np.int64]) -> None:
        self.path = path
        self.rows = rows
        self._map()

    def _map(self) -> None:
        self._pictures = np.load(self.path, mmap_mode="r")
        self.side = int(self._pictures.shape[1])
        self.channels = int(self._pictures.shape[3])

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A copy of the pictures at `indices`: uint8 [batch, side, side, channel]."""
        pictures: NDArray[np.uint8] = self._pictures[self.rows[indices]]
        return np.asarray(pictures)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "rows": self.rows}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()


class PickedImages:
    """Some of other pictures, which stay where they are.

    Args:
        images: The others.
        rows: int64 [m], which of them.
    """

    def __init__(self, images: Images, rows: NDArray[np.int64]) -> None:
        self.images = images
        self.rows = rows
        self.side = images.side
        self.channels = images.channels

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The pictures at `indices`: uint8 [batch, side, side, channel]."""
        return self.images.read(self.rows[indices])


def pick(images: Images, rows: NDArray[np.int64]) -> Images:
    """The pictures at `rows` (int64 [m]); files stay files, whose windows can be decoded by themselves."""
    if isinstance(images, FileImages):
        names = [images.names[row] for row in rows]
        return FileImages(images.root, names, side=images.side, channels=images.channels, resize=images.resize)
    return PickedImages(images, rows)


def read_windows(images: Images, indices: NDArray[np.int64], windows: Sequence[Window]) -> Iterator[NDArray[np.uint8]]:
    """A part of each picture, uint8 [height, width, channel]: of a file no more is resampled than that."""
    if isinstance(images, FileImages):
        for index, window in zip(indices, windows, strict=True):
            yield images.decode(int(index), window)
    else:
        for picture, window in zip(images.read(indices), windows, strict=True):
            yield picture[window]
