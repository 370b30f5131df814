"""Batches of a split, each a pure function of (seed, epoch, step)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.config.data import AugmentConfig
from mlstack.datasets import draws
from mlstack.datasets.augment import augment, centre_crop
from mlstack.datasets.balance import balanced_order, check_balance
from mlstack.datasets.base import Batch, Split
from mlstack.datasets.mixing import mix, mixes, soft_labels, whole_pairs
from mlstack.errors import ConfigError


class BatchLoader:
    """Cuts a split into batches, in a new order each epoch, and augments them.

    Order and random numbers are made for the global batch of all ranks and then divided: what a step sees does not
    depend on how many ranks there are. Each picture comes once an epoch; the last two global batches share what is left
    evenly, or are joined where a rank would get less than 2 (only with a batch size of 2 or 3): batch normalisation
    can't do with 1. With `balance` each class comes equally often instead, in an epoch as long as the split.

    Args:
        split: What to cut.
        batch_size: Pictures a step and rank.
        image_size: Height and width of the pictures in a batch, at most those of the split.
        seed: Of the order and the augmentation.
        shuffle: A new order each epoch; else in the order of the split.
        augment: Random changes; None = what evaluation sees.
        rank: Which part of each global batch.
        world_size: How many parts there are.
        balance: Draw the pictures so that each class comes equally often; needs `shuffle` and a split of classes.
        classes: How many classes there are, for the blended labels of MixUp and CutMix; None = up to the highest label.

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
        balance: bool = False,
        classes: int | None = None,
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
        if balance:
            check_balance(split.labels, shuffle=shuffle)
        self.split = split
        self.image_size = image_size
        self.seed = seed
        self.shuffle = shuffle
        self.augment = augment
        self.rank = rank
        self.world_size = world_size
        self.balance = balance
        self.classes = classes or int(split.labels.max()) + 1
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
        total = self.global_size(step)
        part = slice(total * self.rank // self.world_size, total * (self.rank + 1) // self.world_size)
        order = self._epoch_order(epoch)[self._edges[step] : self._edges[step + 1]]
        if self.augment is not None and mixes(self.augment):
            return self._mixed(epoch, step, order, part, self.augment)
        return self._plain(epoch, step, order, part)

    def global_size(self, step: int) -> int:
        """Pictures in the global batch of a step, over all ranks.

        Raises:
            IndexError: No step of an epoch.
        """
        if not 0 <= step < len(self):
            raise IndexError(f"step {step} of {len(self)}")
        return int(self._edges[step + 1] - self._edges[step])

    def _plain(self, epoch: int, step: int, order: NDArray[np.int64], part: slice) -> Batch:
        """The part of a global batch, augmented, not blended."""
        indices, images, size = order[part], self.split.images, self.image_size
        if self.augment is None:
            pictures = centre_crop(images.read(indices), size)
        else:
            numbers = draws.Draws(self.seed, epoch, step, len(order), part)
            pictures = augment(images, indices, size=size, config=self.augment, numbers=numbers)
        return Batch(np.ascontiguousarray(pictures), self.split.labels[indices], indices)

    def _mixed(self, epoch: int, step: int, order: NDArray[np.int64], part: slice, config: AugmentConfig) -> Batch:
        """The part of a global batch, blended; a neighbour beyond its edge is read for that, and dropped again."""
        wide = whole_pairs(part, len(order))
        plain = self._plain(epoch, step, order, wide)
        numbers = draws.Draws(self.seed, epoch, step, len(order), wide)
        labels = soft_labels(plain.labels, self.classes)
        pictures, labels = mix(plain.images, labels, config=config, numbers=numbers)
        own = slice(part.start - wide.start, part.stop - wide.start)
        return Batch(pictures[own], labels[own], plain.indices[own])

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        if not self.shuffle:
            epoch = 0
        if self._order is not None and self._order[0] == epoch:
            return self._order[1]
        if self.balance:
            order = balanced_order(self.split.labels, seed=self.seed, epoch=epoch)
        else:
            order = np.arange(len(self.split), dtype=np.int64)
            if self.shuffle:
                draws.stream(self.seed, draws.ORDER, epoch=epoch).shuffle(order)
        self._order = (epoch, order)
        return order

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
