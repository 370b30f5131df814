"""Class-balanced sampling: every class equally often in an epoch that is as long as the split."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlstack.datasets import draws
from mlstack.datasets.base import Labels
from mlstack.errors import ConfigError

BLOCK = 4096  # pictures, about, that one stream of random numbers puts in order


def check_balance(labels: Labels, *, shuffle: bool) -> None:
    """ConfigError unless there are classes to balance, and an order to draw."""
    if labels.ndim != 1:
        raise ConfigError("data.balance needs one class for each image", key="data.balance", hint="drop data.balance")
    if not shuffle:
        raise ConfigError("balance needs shuffle: a fixed order can't repeat images", key="data.balance")


def balanced_order(labels: Labels, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The positions of one epoch, a pure function of labels, seed and epoch.

    Class counts differ by at most 1, and take turns at the extra picture. A class goes through its pictures in a
    random order, again and again, on over the ends of epochs: each is shown once more before any is shown twice more.

    Args:
        labels: int64 [n]; a class without pictures is left out.
        seed: The run's seed.
        epoch: From 0.

    Returns:
        int64 [n], in random order.
    """
    count = len(labels)
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.unique(labels, return_counts=True)[1])[:-1])
    every, extra = divmod(count, len(members))
    chosen: list[NDArray[np.int64]] = []
    for place, positions in enumerate(members):
        start, stop = (
            number * every + -(-(number * extra - place) // len(members)) for number in (epoch, epoch + 1)
        )  # extras go round the classes, picture by picture: how many of the first number · extra fell on this one
        chosen.append(positions[_endless(len(positions), start, stop, seed=seed, place=place)])
    order = np.concatenate(chosen).astype(np.int64)
    draws.stream(seed, draws.ORDER, epoch=epoch).shuffle(order)
    return order


def _endless(size: int, start: int, stop: int, *, seed: int, place: int) -> NDArray[np.int64]:
    """Items start to stop of an endless row of random orders of 0 to size - 1: int64 [stop - start]."""
    cycles = max(1, BLOCK // size)
    length = cycles * size
    blocks = range(start // length, -(-stop // length))
    rows = np.tile(np.arange(size, dtype=np.int64), (len(blocks), cycles, 1))
    for row, block in zip(rows, blocks, strict=True):
        draws.stream(seed, draws.BALANCE, epoch=block, step=place).permuted(row, axis=1, out=row)
    first = blocks.start * length
    return rows.reshape(-1)[start - first : stop - first]
