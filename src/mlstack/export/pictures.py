"""Pictures that an export looks at: held-out ones in batches, and training pictures to calibrate on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mlstack.bundle.session import Session, SessionAnswers
from mlstack.datasets import Batch, Dataset
from mlstack.datasets.augment import centre_crop
from mlstack.export.bundle_data import CALL, HeldOut

SHOWN_AFTER = 3  # seconds that a pass may take before it shows a bar


class HeldOutSource:
    """Held-out pictures as a `BatchSource`: in their order, each once.

    Args:
        held_out: Which ones.
        batch_size: Pictures a step.
    """

    def __init__(self, held_out: HeldOut, *, batch_size: int) -> None:
        self.held_out = held_out
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.held_out) // self.batch_size)

    def batch(self, epoch: int, step: int) -> Batch:
        """See `BatchSource.batch`."""
        rows = self.held_out.rows[step * self.batch_size : (step + 1) * self.batch_size]
        return Batch(read(self.held_out.dataset, self.held_out.split, rows), self._labels(rows), rows)

    def _labels(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | NDArray[np.float32]:
        return self.held_out.dataset.splits[self.held_out.split].labels[rows]


def read(dataset: Dataset, split: str, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Pictures of a split as evaluation sees them, uint8 [n, height, width, channel]."""
    return np.ascontiguousarray(centre_crop(dataset.splits[split].images.read(rows), dataset.image_size))


def calibration_images(dataset: Dataset, count: int, *, seed: int) -> NDArray[np.uint8]:
    """Training pictures, drawn by a seed, not augmented: uint8 [≤ count, height, width, channel]."""
    total = len(dataset.splits["train"])
    rows = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
    return read(dataset, "train", rows.astype(np.int64))


def ask(session: Session, held_out: HeldOut, *, words: str, features: bool = True) -> SessionAnswers:
    """What a model file answers for held-out pictures; a bar shows how far it is.

    Args:
        session: The model.
        held_out: Which pictures.
        words: What the bar says is being done.
        features: Keep features; otherwise they are [n, 0]: of a large split they would fill the memory.
    """
    outputs, seen = [], []
    with tqdm(total=len(held_out), desc=words, unit=" images", delay=SHOWN_AFTER, leave=False, disable=None) as bar:
        for images in held_out.images(CALL):
            answers = session.run(images)
            outputs.append(answers.output)
            seen.append(answers.features if features else answers.features[:, :0])
            bar.update(len(images))
    return SessionAnswers(np.concatenate(outputs), np.concatenate(seen))
