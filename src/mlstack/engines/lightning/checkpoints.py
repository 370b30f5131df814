"""When Lightning saves a checkpoint, and how: free of pickle."""

from __future__ import annotations

import errno
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.callbacks import Callback

from mlstack.engines.checkpoint_files import LAST, CheckpointFolder
from mlstack.engines.lightning.module import TrainingModule


class Checkpoints(Callback):
    """Save every so many optimizer steps, and at the end of each epoch, after its validation.

    Args:
        files: Where they go, and under which names.
        monitor: The metric that says which one is best.
    """

    def __init__(self, files: CheckpointFolder, *, monitor: str) -> None:
        self.files, self.monitor = files, monitor

    def state_dict(self) -> dict[str, Any]:
        return self.files.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.files.load_state_dict(state_dict)

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self.files.saved_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        if self.files.is_due(trainer.global_step):
            self.save_last(trainer, pl_module)

    def save_last(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Write last.ckpt, in the middle of an epoch. All ranks take part."""
        self._save(trainer, module, LAST)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        epoch = trainer.current_epoch
        score = float(trainer.callback_metrics.get(self.monitor, math.nan))
        validated = (epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        name = self.files.rank(epoch, score if validated else math.nan)
        pl_module.end_epoch()
        self._save(trainer, pl_module, name)
        if trainer.is_global_zero:
            self.files.link(name)

    def _save(self, trainer: pl.Trainer, module: TrainingModule, name: str) -> None:
        self.files.saved_step = trainer.global_step
        module.before_save()
        self.files.save(name, trainer.save_checkpoint)


class PlainFiles(CheckpointIO):
    """Checkpoints straight to a file, and back without pickle; Lightning's own go through a copy in memory."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        save(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        return dict(torch.load(path, map_location=map_location, weights_only=True))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint of plain values and tensors.

    Raises:
        OSError: It can't be written.
    """
    # Checksums take 5/6 of the time, and torch does not look at them when it reads.
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(checkpoint, path)
    except RuntimeError as error:  # what torch makes of a write that failed
        full = shutil.disk_usage(path.parent).free < 2**20
        code = errno.ENOSPC if full else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from error
    finally:
        torch.serialization.set_crc32_options(True)
