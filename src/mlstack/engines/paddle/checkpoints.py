"""What a checkpoint of this engine holds, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlstack.engines.checkpoint_files import CheckpointFolder
from mlstack.engines.paddle.module import TrainingModel
from mlstack.engines.paddle.restore import set_weights
from mlstack.engines.paddle.weight_files import AVERAGE, NETWORK, OPTIMIZER, part, write_checkpoint
from mlstack.engines.progress import Stopwatch
from mlstack.engines.stopping import Patience
from mlstack.utils.ranks import is_main_process


class Checkpoints:
    """Saves and restores a training.

    Args:
        model: What is trained.
        files: Where checkpoints go, and under which names.
        watch: Counts images and time.
        patience: Early stopping; None without it.
    """

    def __init__(
        self, model: TrainingModel, files: CheckpointFolder, *, watch: Stopwatch, patience: Patience | None
    ) -> None:
        self.model, self.files, self.watch, self.patience = model, files, watch, patience

    def save(self, name: str) -> None:
        """Write a checkpoint. All ranks take part.

        Raises:
            OutputError: It can't be written.
            TrainingError: A weight is NaN or infinite.
        """
        self.files.saved_step = self.model.position.step
        self.model.before_save()
        state = self._state()
        self.files.save(name, lambda path: self._write(path, state) if is_main_process() else None)

    def _state(self) -> dict[str, Any]:
        """What is no tensor."""
        model = self.model
        return {
            **model.record.state_dict(),
            "schedule": model.schedule.state_dict(),
            "files": self.files.state_dict(),
            "speed": self.watch.state_dict(),
            "patience": None if self.patience is None else self.patience.state_dict(),
            "scaler": None if model.scaler is None else _plain(model.scaler.state_dict()),
        }

    def _write(self, path: Path, state: Mapping[str, Any]) -> None:
        model = self.model
        parts = {NETWORK: model.classifier.state_dict(), OPTIMIZER: model.optimizer.state_dict()}
        if model.average is not None:
            parts[AVERAGE] = model.average.state_dict()
        tensors = {
            f"{prefix}{name}": value.numpy() for prefix, tensors in parts.items() for name, value in tensors.items()
        }
        write_checkpoint(path, state, tensors)

    def restore(self, content: Mapping[str, Any]) -> None:
        """Take over what `read_checkpoint` has read; the position was taken before."""
        model, tensors = self.model, content["tensors"]
        set_weights(model.classifier, part(tensors, NETWORK))
        model.optimizer.load_state_dict(part(tensors, OPTIMIZER))
        if model.average is not None and (average := part(tensors, AVERAGE)):
            model.average.load_state_dict(average)
        model.record.load_state_dict(dict(content), rank=model.rank)
        model.schedule.load_state_dict(content["schedule"])
        self.files.load_state_dict(content["files"])
        self.watch.load_state_dict(content["speed"])
        if self.patience is not None and content["patience"] is not None:
            self.patience.load_state_dict(content["patience"])
        if model.scaler is not None and content["scaler"] is not None:
            model.scaler.load_state_dict(content["scaler"])


def _plain(state: Mapping[str, Any]) -> dict[str, Any]:
    """A GradScaler's state, whose scale is an array."""
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in state.items()}
