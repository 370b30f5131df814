"""A checkpoint's weights in a torch network: to predict with, or to start from."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from mlstack.config import DataConfig, ModelConfig
from mlstack.engines.lightning.weight_files import read_checkpoint, weights_in
from mlstack.engines.restore import DAMAGED, SAME_MODEL, damaged_weights, fitting_weights, reason
from mlstack.errors import RunError
from mlstack.models.pytorch import Classifier, build_classifier
from mlstack.models.weight_shapes import shapes_of


def build_network(
    model: ModelConfig, data: DataConfig, weights: Path | None, *, channels_last: bool = True
) -> Classifier:
    """The network of a run; where channels were removed from it, as narrow as the weights that will come in.

    Args:
        model: The run's settings.
        data: Its others.
        weights: The checkpoint that they will come from; None where none will.
        channels_last: Keep activations as [batch, height, width, channel] in memory.

    Raises:
        RunError: It is damaged, or of another network.
        ConfigError: What `build_classifier` refuses.
    """
    if not model.pruned or weights is None:
        return build_classifier(model, data, channels_last=channels_last)
    try:
        shapes = shapes_of(weights_in(read_checkpoint(weights)))
        return build_classifier(model, data, channels_last=channels_last, shapes=shapes)
    except DAMAGED as error:
        raise RunError(f"{weights} does not fit this network: {reason(error)}", hint=SAME_MODEL) from error


def load_weights(classifier: Classifier, path: Path) -> None:
    """Put a checkpoint's weights into a network: their moving average where it holds one.

    Raises:
        RunError: The file is damaged, no checkpoint of this project, or of another network.
    """
    try:
        classifier.load_state_dict(weights_in(read_checkpoint(path)))
    except DAMAGED as error:
        raise damaged_weights(path, error) from error


def start_from(classifier: nn.Module, path: Path, *, needed: str | None = None) -> str:
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
        weights = weights_in(read_checkpoint(path))
    except DAMAGED as error:
        raise RunError(f"init_from={path} can't be loaded: {reason(error)}") from error
    fitting, words = fitting_weights(classifier.state_dict(), weights, path, needed=needed)
    classifier.load_state_dict(fitting, strict=False)
    return words
