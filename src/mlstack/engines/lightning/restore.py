"""A checkpoint's weights in a torch network: to predict with, or to start from."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from mlstack.engines.lightning.weight_files import read_checkpoint, weights_in
from mlstack.engines.restore import DAMAGED, damaged_weights, fitting_weights, reason
from mlstack.errors import RunError
from mlstack.models.pytorch import Classifier


def load_weights(classifier: Classifier, path: Path) -> None:
    """Put a checkpoint's weights into a network: their moving average where it holds one.

    Raises:
        RunError: The file is damaged, no checkpoint of this project, or of another network.
    """
    try:
        classifier.load_state_dict(weights_in(read_checkpoint(path)))
    except DAMAGED as error:
        raise damaged_weights(path, error) from error


def start_from(classifier: nn.Module, path: Path) -> str:
    """Copy those weights of a checkpoint that fit by name and shape; the others stay as they are.

    Returns:
        What was taken and what was not, in one line.

    Raises:
        RunError: The file is damaged, or no weight but the head's would fit.
    """
    try:
        weights = weights_in(read_checkpoint(path))
    except DAMAGED as error:
        raise RunError(f"init_from={path} can't be loaded: {reason(error)}") from error
    fitting, words = fitting_weights(classifier.state_dict(), weights, path)
    classifier.load_state_dict(fitting, strict=False)
    return words
