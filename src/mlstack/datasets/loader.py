"""Batches of a split, each a pure function of (seed, epoch, step)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.config.data import AugmentConfig
from mlstack.datasets import draws
from mlstack.datasets.augment import augment, centre_crop
from mlstack.datasets.base import Batch, Split
from mlstack.errors import ConfigError


class BatchLoader:
    """Cuts a split into batches, in a new order each epoch, and augments them.

    Order and random numbers are made for the global batch of all ranks and then divided: what a step sees does not
    depend on how many ranks there are. Each picture comes once an epoch; the last two global batches share what is left
    evenly, or are joined where a rank would get less than 2 (only with a batch size of 2 or 3): batch normalisation
    can't do with 1.

    Args:
        split: What to cut.
        batch_size: Pictures a step and rank.
        image_size: Height and width of the pictures in a batch, at most those of the split.
        seed: Of the order and the augmentation.
        shuffle: A new order each epoch; else in the order of the split.
        augment: Random changes; None = what evaluation sees.
        rank: Which part of each global batch.
        world_size: How many parts there are.

    Raises:
        ConfigError: A size that does not fit the split.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch_size: int,
        image_size: int,
        seed: int = 0,
        shuffle: bool = False,
        augment: AugmentConfig | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if image_size > split.images.side:
            raise ConfigError(
                f"data.image_size={image_size} is more than the {split.images.side} pixels of the images",
                key="data.image_size",
            )
        if batch_size < 1 or not 0 <= rank < world_size:
            raise ConfigError(f"batch_size={batch_size}, rank={rank} and world_size={world_size} do not fit together")
        if len(split) < world_size:
            raise ConfigError(f"{len(split)} images can't be divided among {world_size} devices", key="trainer.devices")
        self.split = split
        self.image_size = image_size
        self.seed = seed
        self.shuffle = shuffle
        self.augment = augment
        self.rank = rank
        self.world_size = world_size
        least = world_size * min(2, batch_size)
        self._edges = _edges(len(split), size=batch_size * world_size, least=least)
        self._order: tuple[int, NDArray[np.int64]] | None = None  # the last epoch's order, kept to save time

    def __len__(self) -> int:
        """Steps an epoch, the same on every rank."""
        return len(self._edges) - 1

    def batch(self, epoch: int, step: int) -> Batch:
        """This rank's part of one step: pictures, labels, and where in the split they are.

        Args:
            epoch: From 0.
            step: Within the epoch, from 0.
        """
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of {len(self)}")
        start, stop = int(self._edges[step]), int(self._edges[step + 1])
        total = stop - start
        part = slice(total * self.rank // self.world_size, total * (self.rank + 1) // self.world_size)
        indices = self._epoch_order(epoch)[start:stop][part]
        images, size = self.split.images, self.image_size
        if self.augment is None:
            pictures = centre_crop(images.read(indices), size)
        else:
            numbers = draws.Draws(self.seed, epoch, step, total, part)
            pictures = augment(images, indices, size=size, config=self.augment, numbers=numbers)
        return Batch(np.ascontiguousarray(pictures), self.split.labels[indices], indices)

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        if not self.shuffle:
            epoch = 0
        if self._order is None or self._order[0] != epoch:
            order = np.arange(len(self.split), dtype=np.int64)
            if self.shuffle:
                draws.stream(self.seed, draws.ORDER, epoch=epoch).shuffle(order)
            self._order = (epoch, order)
        return self._order[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_order": None}  # a worker makes it anew: cheaper than sending it


def _edges(count: int, *, size: int, least: int) -> NDArray[np.int64]:
    """Where each global batch begins, and the end: int64 [steps + 1].

    Args:
        count: Pictures.
        size: Pictures in a global batch.
        least: A global batch that would be smaller than this is joined to the one before it.
    """
    full, left = divmod(count, size)
    if full == 0 or left == 0:
        return np.append(np.arange(0, count, size), count)
    shared = size + left
    edges = np.arange(full) * size  # the last of these begins the pictures that two batches share
    if shared // 2 < least:
        return np.append(edges, count)
    return np.append(edges, (count - shared // 2, count))
