"""A checkpoint of this engine: one safetensors file. Needs neither Paddle nor pickle.

Tensors: `network/<weight>`, `average/<weight>` (with `trainer.ema_decay`), `optimizer/<parameter>/<accumulator>`. What
is no tensor (position, learning-rate schedule, scores, …) is JSON under the key `state` of the file's metadata.
https://github.com/huggingface/safetensors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

Arrays = dict[str, NDArray[Any]]
NETWORK, AVERAGE, OPTIMIZER = "network/", "average/", "optimizer/"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The whole content: what `state` holds, and the arrays by name under `tensors`.

    Raises:
        ValueError: The file is damaged, or no checkpoint of this project.
        OSError: It can't be read.
    """
    try:
        with safe_open(path, framework="np") as file:
            state = json.loads((file.metadata() or {})["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"no whole safetensors file of this project ({error})") from error
    return {**state, "tensors": tensors}


def write_checkpoint(path: Path, state: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Write plain values and arrays; the file is not yet forced to the disk.

    Raises:
        OSError: It can't be written.
    """
    # It would write an array that is not C-contiguous in the order in which it lies in memory.
    contiguous = {name: np.asarray(value, order="C") for name, value in tensors.items()}
    path.write_bytes(save(contiguous, metadata={"state": json.dumps(state)}))


def part(tensors: Mapping[str, NDArray[Any]], prefix: str) -> Arrays:
    """The arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def weights_in(content: Mapping[str, Any]) -> Arrays:
    """The network's weights by name: their moving average where there is one."""
    return part(content["tensors"], AVERAGE) or part(content["tensors"], NETWORK)


def read_weights(path: Path) -> Arrays:
    """The same, read from a file. Raises what `read_checkpoint` does."""
    return weights_in(read_checkpoint(path))


def write_weights(path: Path, weights: Mapping[str, NDArray[Any]]) -> None:
    """A checkpoint that holds weights only: to predict with and to start from, not to go on with.

    Raises:
        OSError: It can't be written.
    """
    write_checkpoint(path, {}, {f"{NETWORK}{name}": np.asarray(value) for name, value in weights.items()})
