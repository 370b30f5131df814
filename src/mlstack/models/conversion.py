"""Weights from one framework to the other, as NumPy arrays: the same names, but for batch norm, and the same numbers.

| layer          | torch                                             | Paddle                                  |
|----------------|---------------------------------------------------|-----------------------------------------|
| linear         | `weight` [out, in]                                | `weight` [in, out]                      |
| convolution    | `weight` [out, in, height, width]                 | the same                                |
| batch norm     | `running_mean`, `running_var`                     | `_mean`, `_variance`                    |
| batch norm     | `num_batches_tracked`                             | none: kept as it is, and ignored there  |

`num_batches_tracked` of 0 is left out on the way to Paddle and put back on the way to torch, so that a round trip that
starts on either side gives back every array, bit by bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.errors import ConfigError

Weights = Mapping[str, NDArray[Any]]

PADDLE_NAMES = {"running_mean": "_mean", "running_var": "_variance"}
TORCH_NAMES = {paddle: torch for torch, paddle in PADDLE_NAMES.items()}
BATCHES = "num_batches_tracked"


def to_paddle(weights: Weights) -> dict[str, NDArray[Any]]:
    """Torch's weights as Paddle names and stores them.

    Raises:
        ConfigError: One of them belongs to no layer that is known here.
    """
    counted = {name: array for name, array in weights.items() if not (_last(name) == BATCHES and not array.any())}
    return {_renamed(name, PADDLE_NAMES): _transposed(name, array) for name, array in counted.items()}


def to_torch(weights: Weights) -> dict[str, NDArray[Any]]:
    """Paddle's weights as torch names and stores them.

    Raises:
        ConfigError: One of them belongs to no layer that is known here.
    """
    converted: dict[str, NDArray[Any]] = {}
    for name, array in weights.items():
        converted[_renamed(name, TORCH_NAMES)] = _transposed(name, array)
        if _last(name) == "_variance":
            batches = name.removesuffix("_variance") + BATCHES
            converted[batches] = weights.get(batches, np.zeros((), np.int64))
    return converted


def _transposed(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """A linear layer's matrix the other way round; other arrays as they are.

    A matrix that is called `weight` is taken for a linear layer's. (An embedding's would be one too; no network of the
    libraries that both frameworks have holds one.)
    """
    last = _last(name)
    is_vector = array.ndim == 1 and last in ("weight", "bias", *PADDLE_NAMES, *TORCH_NAMES)
    is_kernel = array.ndim in (3, 4, 5) and last == "weight"
    if is_vector or is_kernel or (array.ndim == 0 and last == BATCHES):
        return np.asarray(array, order="C")  # torch's kernels may lie in memory with the channels last
    if array.ndim == 2 and last == "weight":
        return np.asarray(array.T, order="C")
    raise ConfigError(
        f"{name} {list(array.shape)} can't be converted: it belongs to no linear layer, convolution or norm",
        key="run",
        hint="such a network can be trained with the other engine, but its weights can't be taken over",
    )


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _renamed(name: str, names: Mapping[str, str]) -> str:
    head, dot, last = name.rpartition(".")
    return head + dot + names.get(last, last)
