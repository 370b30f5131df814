"""The network's weights in a checkpoint of this engine, as arrays. Needs torch, not Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PREFIX = "classifier."  # of the network's own weights among the training module's


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The whole content; fails with one of `mlstack.engines.restore.DAMAGED`."""
    return dict(torch.load(path, map_location="cpu", weights_only=True))


def weights_in(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The network's weights by name: their moving average where there is one."""
    if "ema" in content:
        return dict(content["ema"])
    state = content["state_dict"]
    return {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """The same, read from a file, as arrays."""
    return {name: value.numpy() for name, value in weights_in(read_checkpoint(path)).items()}


def write_weights(path: Path, weights: Mapping[str, NDArray[Any]]) -> None:
    """A checkpoint that holds weights only: to predict with and to start from, not to go on with.

    Raises:
        OSError: It can't be written.
    """
    tensors = {f"{PREFIX}{name}": torch.from_numpy(np.array(value)) for name, value in weights.items()}
    torch.save({"state_dict": tensors}, path)
