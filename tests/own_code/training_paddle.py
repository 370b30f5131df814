"""Whole runs of the Paddle engine, behind the names that `training_lightning.py` has: where tests look, or reach in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlstack.config import Config
from mlstack.engines.paddle.engine import prepared
from mlstack.engines.paddle.module import TrainingModel
from mlstack.engines.paddle.weight_files import read_checkpoint, write_checkpoint
from mlstack.models.paddle import build_classifier

# isort: split
import paddle

# Functions at which a test stops a run: a step of the validation, and what writes a checkpoint.
VALIDATION_STEP = "mlstack.engines.paddle.module:TrainingModel.eval_batch"
WRITING = "mlstack.engines.paddle.checkpoints:write_checkpoint"
CLOCK = ("speed",)  # where in a checkpoint the clock stands


def state(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, `position` and more; safetensors and JSON know plain values and tensors only."""
    return read_checkpoint(path)


def change_position(path: Path, **values: Any) -> None:
    """Let a checkpoint say that it was written elsewhere."""
    content = state(path)
    content["position"] |= values
    tensors = content.pop("tensors")
    path.unlink()  # a second name for the same file stays as it was
    write_checkpoint(path, content, tensors)


def initial_weights(config: Config) -> dict[str, NDArray[Any]]:
    """What a run with these settings begins with."""
    with prepared(config):
        paddle.seed(config.seed)
        classifier = build_classifier(config.model, config.data)
        return {name: value.numpy() for name, value in classifier.state_dict().items()}


def spoil(patch: pytest.MonkeyPatch, *, step: int, value: float) -> None:
    """Fill a weight with a value when the optimizer step number `step`, counted from 1, is about to be taken."""
    original = TrainingModel._gradients

    def spoilt(self: TrainingModel, *arguments: Any, **more: Any) -> None:
        if self.position.step == step - 1:
            weight = self.classifier.parameters()[0]
            weight.set_value(np.full(weight.shape, value, "float32"))
        original(self, *arguments, **more)

    patch.setattr(TrainingModel, "_gradients", spoilt)


def compilations(patch: pytest.MonkeyPatch) -> list[paddle.nn.Layer]:
    """The networks that are to be compiled from now on; they are not."""
    networks: list[paddle.nn.Layer] = []
    patch.setattr(paddle.jit, "to_static", networks.append)
    return networks


def pixels(images: paddle.Tensor) -> NDArray[np.uint8]:
    """A batch of a loader."""
    assert images.dtype == paddle.uint8
    return np.asarray(images.numpy())
