"""Whole runs of the PyTorch engine, behind the names that `training_paddle.py` has: where tests look, or reach in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mlstack.config import Config
from mlstack.engines.lightning.module import TrainingModule
from mlstack.models.pytorch import build_classifier

# Functions at which a test stops a run: a step of the validation, and what writes a checkpoint.
VALIDATION_STEP = "mlstack.engines.lightning.module:TrainingModule.validation_step"
WRITING = "mlstack.engines.lightning.checkpoints:save"
CLOCK = "callbacks", "Speed"  # where in a checkpoint the clock stands


def state(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, `position` and more; `weights_only` refuses all but plain values and tensors."""
    return dict(torch.load(path, weights_only=True))


def change_position(path: Path, **values: Any) -> None:
    """Let a checkpoint say that it was written elsewhere."""
    content = state(path)
    content["position"] |= values
    path.unlink()  # a second name for the same file stays as it was
    torch.save(content, path)


def initial_weights(config: Config) -> dict[str, NDArray[Any]]:
    """What a run with these settings begins with."""
    torch.manual_seed(config.seed)
    classifier = build_classifier(config.model, config.data)
    return {name: value.numpy() for name, value in classifier.state_dict().items()}


def spoil(patch: pytest.MonkeyPatch, *, step: int, value: float) -> None:
    """Fill a weight with a value when the optimizer step number `step`, counted from 1, is about to be taken."""
    original = TrainingModule._gradients

    def spoilt(self: TrainingModule, *arguments: Any) -> None:
        if self.position.step == step - 1:
            with torch.no_grad():
                next(self.classifier.parameters()).fill_(value)
        original(self, *arguments)

    patch.setattr(TrainingModule, "_gradients", spoilt)


def compilations(patch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The networks that are to be compiled from now on; they are not, which takes 20 s."""
    networks: list[nn.Module] = []
    patch.setattr(nn.Module, "compile", lambda network: networks.append(network))  # a method
    return networks


def pixels(images: torch.Tensor) -> NDArray[np.uint8]:
    """A batch of a loader."""
    assert images.dtype == torch.uint8
    return np.asarray(images.numpy())
