"""Which single weights a network can best do without: those nearest to 0 (https://arxiv.org/abs/1506.02626)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def smallest_weights(arrays: Sequence[Array], *, ratio: float, scope: str, importance: str, seed: int) -> list[Array]:
    """Where the weights lie that are to become 0.

    Args:
        arrays: The weights of each layer.
        ratio: Share of them, 0 to 1; weights that are 0 already count.
        scope: `layer` takes the same share of each layer, `global` the smallest anywhere.
        importance: `l1` and `l2` are the same for a single weight: its size. `random` draws.
        seed: Of that draw.

    Returns:
        For each array a bool one of its shape.
    """
    draw = np.random.default_rng(seed)
    sizes = [np.abs(array) if importance != "random" else draw.random(array.shape, np.float32) for array in arrays]
    if scope == "layer":
        return [size <= _limit(size.ravel(), ratio) for size in sizes]
    limit = _limit(np.concatenate([size.ravel() for size in sizes]), ratio) if sizes else 0.0
    return [size <= limit for size in sizes]


def _limit(sizes: Array, ratio: float) -> float:
    """The size up to which a share of the weights lies; below all of them where that share is less than one weight."""
    count = round(ratio * len(sizes))
    return float(np.partition(sizes, count - 1)[count - 1]) if count else -1.0
