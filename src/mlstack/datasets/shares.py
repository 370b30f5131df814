"""Keeping a share of each class's training images: an imbalance to order, of any data set."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlstack.config.data import DataConfig
from mlstack.datasets.base import Dataset, Labels, Split
from mlstack.datasets.images import pick
from mlstack.errors import ConfigError

SHARES_STREAM = 3  # beside those of splits.py


def with_class_shares(dataset: Dataset, config: DataConfig) -> Dataset:
    """The data set with `data.class_shares` of its training images; `val`, `test`, mean and std stay what they were.

    Raises:
        ConfigError: Not one share for each class, or no classes.
    """
    shares = config.class_shares
    if shares is None:
        return dataset
    if dataset.task != "classification":
        message = f"data.class_shares needs classes, which task {dataset.task} has not"
        raise ConfigError(message, key="data.class_shares", hint="drop data.class_shares")
    if len(shares) != len(dataset.classes):
        message = f"data.class_shares has {len(shares)} shares, the data has {len(dataset.classes)} classes"
        order = ", ".join(dataset.classes[:10]) + (", …" if len(dataset.classes) > 10 else "")
        raise ConfigError(message, key="data.class_shares", hint=f"one for each, in this order: {order}")
    train = dataset.splits["train"]
    kept = kept_positions(train.labels, shares, seed=config.split_seed)
    if len(kept) == len(train):
        return dataset
    smaller = Split(pick(train.images, kept), train.labels[kept], [train.names[index] for index in kept])
    digest = hashlib.sha256(dataset.fingerprint.encode() + kept.tobytes()).hexdigest()
    return dataclasses.replace(dataset, splits={**dataset.splits, "train": smaller}, fingerprint=digest)


def kept_positions(labels: Labels, shares: Sequence[float], *, seed: int) -> NDArray[np.int64]:
    """Which pictures stay: int64, ascending. Each class keeps its share, rounded, and at least 1.

    A smaller share of a class keeps some of those that a larger one keeps, and no other class has a say in it.

    Args:
        labels: int64 [n].
        shares: One for each class, above 0, up to 1.
        seed: `data.split_seed`.
    """
    kept: list[NDArray[np.intp]] = []
    for label, share in enumerate(shares):
        members = np.flatnonzero(labels == label)
        random = np.random.Generator(np.random.Philox(key=[seed, SHARES_STREAM], counter=[0, 0, 0, label]))
        kept.append(random.permutation(members)[: max(1, round(len(members) * share))])
    return np.sort(np.concatenate(kept)).astype(np.int64)
