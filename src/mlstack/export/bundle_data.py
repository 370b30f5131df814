"""The data that a bundle was trained on, where they are still here, and how good its model files are on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.folder import Bundle
from mlstack.bundle.metadata import Metadata, PictureInput
from mlstack.bundle.session import Session
from mlstack.config import DataConfig
from mlstack.datasets import Dataset, load_dataset
from mlstack.datasets.augment import centre_crop
from mlstack.datasets.base import Labels
from mlstack.errors import DataError
from mlstack.metrics import Scores, score
from mlstack.runs import RunFolder

CALL = 32  # pictures that a model is asked about at once
PRIMARY = {"classification": "accuracy", "multilabel": "f1", "regression": "mae"}


@dataclass(frozen=True)
class HeldOut:
    """Pictures of one split, as a bundle sees them.

    Attributes:
        dataset: At the bundle's image size.
        split: `train`, `val` or `test`.
        rows: int64 [n], positions in the split.
    """

    dataset: Dataset
    split: str
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> Labels:
        """Of the pictures, as `Split.labels`."""
        return self.dataset.splits[self.split].labels[self.rows]

    def images(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """The pictures, uint8 [≤ size, height, width, channel] at a time: a whole split may not fit into memory."""
        images = self.dataset.splits[self.split].images
        for start in range(0, len(self.rows), size):
            pictures = images.read(self.rows[start : start + size])
            yield np.ascontiguousarray(centre_crop(pictures, self.dataset.image_size))


def run_of(bundle: Bundle) -> RunFolder | None:
    """The run folder that a bundle lies in: `<run>/bundle`, or `<run>/edge/<device>`; None = it lies elsewhere."""
    folder = bundle.path.resolve()
    return next((RunFolder(above) for above in folder.parents[:2] if (above / "config.yaml").is_file()), None)


def data_of(bundle: Bundle, *, image_size: int | None = None) -> Dataset:
    """The data set that the bundle's run was trained on, read from where it is; nothing is downloaded.

    Args:
        bundle: In its run folder.
        image_size: Height and width of the pictures; None = as the bundle takes them.

    Raises:
        DataError: There is no run folder, or the data are not here.
        RunError: The run's settings can't be read.
        ConfigError: They don't fit the data any more.
    """
    run = run_of(bundle)
    if run is None:
        raise DataError(f"{bundle.path} does not lie in a run folder, so nobody knows where its data are")
    return load_dataset(at_size(run.read_config().data, bundle.metadata, image_size))


def at_size(data: DataConfig, metadata: Metadata, image_size: int | None) -> DataConfig:
    """Settings of data for pictures of a bundle, or of another size: by the same rule, from the same files."""
    picture = picture_input(metadata.input, image_size or metadata.input.height)
    size, decoded = picture.height, picture.decoded_size
    return replace(data, image_size=size, decoded_size=decoded, download=False, cache="none", num_workers=0)


def picture_input(before: PictureInput, size: int) -> PictureInput:
    """What a model takes once its pictures have another size: by the same rule, the same share of each picture."""
    decoded = round(before.decoded_size * size / before.height)
    return replace(before, height=size, width=size, decoded_size=decoded)


def hold_out(dataset: Dataset, split: str, *, limit: int | None = None) -> HeldOut:
    """A split, or some of its pictures, evenly spaced: files often lie in the order of their classes."""
    total = len(dataset.splits[split])
    count = total if limit is None else min(limit, total)
    return HeldOut(dataset, split, np.linspace(0, total - 1, count).round().astype(np.int64))


def score_files(paths: Sequence[Path], held_out: HeldOut, *, threads: int = 1) -> list[Scores]:
    """The metrics of model files on held-out pictures, which are read once for all of them.

    Raises:
        BundleError: A file can't be run on them.
        DataError: A picture can't be read.
    """
    sessions = [Session(path, threads=threads) for path in paths]
    outputs: list[list[NDArray[np.float32]]] = [[] for _ in paths]
    for images in held_out.images(CALL):
        for session, found in zip(sessions, outputs, strict=True):
            found.append(session.run(images).output)
    return [score(held_out.dataset.task, np.concatenate(found), held_out.labels) for found in outputs]
