"""A checkpoint's weights in a Paddle network: to predict with, or to start from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import paddle
from numpy.typing import NDArray

from mlstack.config import DataConfig, ModelConfig
from mlstack.engines.paddle.weight_files import read_weights
from mlstack.engines.restore import DAMAGED, SAME_MODEL, check_names, damaged_weights, fitting_weights, reason
from mlstack.errors import RunError
from mlstack.models.conversion import BATCHES
from mlstack.models.paddle import Classifier, build_classifier
from mlstack.models.weight_shapes import shapes_of


def build_network(model: ModelConfig, data: DataConfig, weights: Path | None) -> Classifier:
    """The network of a run; where channels were removed from it, as narrow as the weights that will come in.

    Args:
        model: The run's settings.
        data: Its others.
        weights: The checkpoint that they will come from; None where none will.

    Raises:
        RunError: It is damaged, or of another network.
        ConfigError: What `build_classifier` refuses.
    """
    if not model.pruned or weights is None:
        return build_classifier(model, data)
    try:
        shapes = shapes_of(read_weights(weights))
        return build_classifier(model, data, shapes=shapes)
    except DAMAGED as error:
        raise RunError(f"{weights} does not fit this network: {reason(error)}", hint=SAME_MODEL) from error


def load_weights(classifier: Classifier, path: Path) -> None:
    """Put a checkpoint's weights into a network: their moving average where it holds one.

    Raises:
        RunError: The file is damaged, no checkpoint of this project, or of another network.
    """
    try:
        set_weights(classifier, read_weights(path))
    except DAMAGED as error:
        raise damaged_weights(path, error) from error


def start_from(classifier: Classifier, path: Path, *, needed: str | None = None) -> str:
    """Copy those weights of a checkpoint that fit by name and shape; the others stay as they are.

    Args:
        classifier: The network that is to start from them.
        path: The checkpoint.
        needed: Which ones all have to fit; see `fitting_weights`.

    Returns:
        What was taken and what was not, in one line.

    Raises:
        RunError: The file is damaged, or too few of its weights fit.
    """
    try:
        weights = read_weights(path)
    except DAMAGED as error:
        raise RunError(f"init_from={path} can't be loaded: {reason(error)}") from error
    own = classifier.state_dict()
    fitting, words = fitting_weights(own, weights, path, needed=needed)
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
