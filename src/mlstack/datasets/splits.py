"""Splits by a seed: each class is divided by itself, so that every part has the same mix of classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlstack.datasets.base import Labels
from mlstack.errors import DataError

TEST_STREAM, VAL_STREAM = 1, 2  # keys of the random streams: independent of each other and of training's


def stratified(
    labels: Labels, *, fraction: float, seed: int, stream: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Divide positions into a part to keep and a part to hold out.

    Each class of at least 3 gives at least 1 and never all; smaller classes are kept whole.

    Args:
        labels: int64 [n].
        fraction: The share of each class to hold out, 0 to 1.
        seed: Equal seeds and labels give equal splits, on any machine.
        stream: Which random stream; one a purpose.

    Returns:
        Positions kept and positions held out, int64, each in ascending order.

    Raises:
        DataError: No class is large enough to hold anything out.
    """
    random = np.random.Generator(np.random.Philox(key=[seed, stream]))
    held: list[NDArray[np.int64]] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(len(members) * fraction)), len(members) - 1) if len(members) >= 3 else 0
        held.append(random.permutation(members)[:count])
    held_out = np.sort(np.concatenate(held)) if held else np.empty(0, np.int64)
    if len(held_out) == 0:
        raise DataError(
            f"{len(labels)} images are too few to hold any out for validation or test",
            hint="each class needs at least 3 images, better 20",
        )
    kept = np.setdiff1d(np.arange(len(labels)), held_out, assume_unique=True)
    return kept.astype(np.int64), held_out.astype(np.int64)


def fill_splits(
    positions: dict[str, NDArray[np.int64]],
    labels: Labels,
    *,
    test_fraction: float,
    val_fraction: float,
    seed: int,
) -> dict[str, NDArray[np.int64]]:
    """Take a missing `test`, then a missing `val`, out of `train`: class by class where there are classes.

    Args:
        positions: int64 positions of each split that the set has by itself; `train` must be there.
        labels: int64 [n], of all positions; or float32 [n, label or target].
        test_fraction: Share of the training images that becomes the test split.
        val_fraction: Share of what is left that becomes the validation split.
        seed: `data.split_seed`.
    """
    parts = dict(positions)
    for name, fraction, stream in (("test", test_fraction, TEST_STREAM), ("val", val_fraction, VAL_STREAM)):
        if name not in parts:
            train = parts["train"]
            classes = labels[train] if labels.ndim == 1 else np.zeros(len(train), np.int64)
            kept, held = stratified(classes, fraction=fraction, seed=seed, stream=stream)
            parts["train"], parts[name] = train[kept], train[held]
    return {name: parts[name] for name in ("train", "val", "test")}
