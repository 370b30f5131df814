"""A checkpoint's weights in a Paddle network: to predict with, or to start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import paddle
from numpy.typing import NDArray

from mlstack.engines.paddle.weight_files import read_weights
from mlstack.engines.restore import DAMAGED, check_names, damaged_weights, fitting_weights, reason
from mlstack.errors import RunError
from mlstack.models.conversion import BATCHES
from mlstack.models.paddle import Classifier


def load_weights(classifier: Classifier, path: Path) -> None:
    """Put a checkpoint's weights into a network: their moving average where it holds one.

    Raises:
        RunError: The file is damaged, no checkpoint of this project, or of another network.
    """
    try:
        set_weights(classifier, read_weights(path))
    except DAMAGED as error:
        raise damaged_weights(path, error) from error


def start_from(classifier: Classifier, path: Path) -> str:
    """Copy those weights of a checkpoint that fit by name and shape; the others stay as they are.

    Returns:
        What was taken and what was not, in one line.

    Raises:
        RunError: The file is damaged, or no weight but the head's would fit.
    """
    try:
        weights = read_weights(path)
    except DAMAGED as error:
        raise RunError(f"init_from={path} can't be loaded: {reason(error)}") from error
    own = classifier.state_dict()
    fitting, words = fitting_weights(own, weights, path)
    for name, value in fitting.items():
        _set(own[name], value)
    return words


def set_weights(classifier: Classifier, weights: Mapping[str, NDArray[Any]]) -> None:
    """Every weight and buffer of a network, bit for bit.

    Raises:
        ValueError: A weight is missing, of no use, or of another shape.
    """
    own = classifier.state_dict()
    # A converted checkpoint keeps torch's counters of batches, which Paddle has no use for.
    check_names(own, [name for name in weights if not name.endswith(BATCHES)])
    for name, tensor in own.items():
        if tuple(tensor.shape) != weights[name].shape:
            message = f"it is of another network: {name} is {list(weights[name].shape)}, not {list(tensor.shape)}"
            raise ValueError(message)
    for name, tensor in own.items():
        _set(tensor, weights[name])


@paddle.no_grad()
def _set(tensor: paddle.Tensor, value: NDArray[Any]) -> None:
    tensor.set_value(paddle.to_tensor(value).astype(tensor.dtype))
