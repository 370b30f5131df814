"""Checkpoints: epoch_<n>.ckpt for the best few, best.ckpt and last.ckpt; whole or not at all, and free of pickle."""

from __future__ import annotations

import contextlib
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

from mlstack.config import TrainerConfig
from mlstack.engines.lightning.module import TrainingModule
from mlstack.errors import OutputError
from mlstack.utils.ranks import is_main_process

LAST = "last.ckpt"


class Checkpoints(Callback):
    """Save every so many optimizer steps, and at the end of each epoch, after its validation.

    Args:
        folder: Where checkpoints go; made with the first one.
        settings: `monitor` and `mode` decide which one is best; the best `save_top_k` are kept.
        resumed_from: The checkpoint that the run goes on from.
    """

    def __init__(self, folder: Path, settings: TrainerConfig, *, resumed_from: Path | None = None) -> None:
        self.folder = folder
        self.resumed_from = resumed_from
        self.monitor = settings.monitor
        self.sign = 1.0 if settings.mode == "max" else -1.0
        self.keep = settings.save_top_k
        self.every = settings.checkpoint_every_n_steps
        self.scores: dict[str, float] = {}  # file name → metric, in the order of saving
        self._saved_step = 0

    def state_dict(self) -> dict[str, Any]:
        return {"scores": dict(self.scores)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        known: dict[str, float] = state_dict["scores"]
        self.scores = {name: score for name, score in known.items() if (self.folder / name).exists()}
        if self.resumed_from is not None and is_main_process():
            self.link(self.resumed_from.name)  # the process before this one may have been killed before it got there

    @property
    def best(self) -> tuple[int, float] | None:
        """Epoch and score of the best checkpoint; None before the first."""
        if not self.scores:
            return None
        name = self._ranked()[0]
        return int(Path(name).stem.removeprefix("epoch_")), self.scores[name]

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        self._saved_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        step = trainer.global_step
        if self.every is not None and step // self.every > self._saved_step // self.every:
            self.save_last(trainer, pl_module)

    def save_last(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Write last.ckpt, in the middle of an epoch. All ranks take part."""
        self._saved_step = trainer.global_step
        self._save(trainer, module, LAST)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        epoch = trainer.current_epoch
        name = f"epoch_{epoch}.ckpt"
        score = float(trainer.callback_metrics.get(self.monitor, math.nan))
        validated = (epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        if validated and not math.isnan(score):
            self.scores[name] = score
        for worse in self._ranked()[self.keep :]:
            del self.scores[worse]
        self._saved_step = trainer.global_step
        pl_module.end_epoch()
        self._save(trainer, pl_module, name)
        if trainer.is_global_zero:
            self.link(name)

    def _ranked(self) -> list[str]:
        """File names, best first; of equal ones the newer first."""
        newest_first = reversed(self.scores.items())
        return [name for name, _ in sorted(newest_first, key=lambda item: -self.sign * item[1])]

    def _save(self, trainer: pl.Trainer, module: TrainingModule, name: str) -> None:
        """Write to a temporary name, force it to the disk, then rename. All ranks take part."""
        module.before_save()
        temporary = self.folder / f".{name}"
        try:
            self.folder.mkdir(exist_ok=True)
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                _sync(temporary)
                temporary.replace(self.folder / name)
                _sync(self.folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise OutputError(
                f"{self.folder / name} can't be written: {error.strerror or error}",
                hint=f"the previous checkpoint is whole; free some space, then type resume={self.folder.parent}",
            ) from error

    def link(self, name: str) -> None:
        """Let last.ckpt be `name` and best.ckpt the best of those that are kept; remove the others."""
        _replace_by_link(self.folder / name, self.folder / LAST)
        best = self._ranked()[0] if self.scores else name
        if (self.folder / best).exists():
            _replace_by_link(self.folder / best, self.folder / "best.ckpt")
        for path in self.folder.glob("epoch_*.ckpt"):
            if path.name not in self.scores:
                path.unlink(missing_ok=True)


class PlainFiles(CheckpointIO):
    """Checkpoints straight to a file, and back without pickle; Lightning's own go through a copy in memory."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        # Checksums take 5/6 of the time, and torch does not look at them when it reads.
        torch.serialization.set_crc32_options(False)
        try:
            torch.save(checkpoint, path)
        except RuntimeError as error:  # what torch makes of a write that failed
            full = shutil.disk_usage(Path(path).parent).free < 2**20
            code = errno.ENOSPC if full else errno.EIO
            raise OSError(code, os.strerror(code), str(path)) from error
        finally:
            torch.serialization.set_crc32_options(True)

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        return dict(torch.load(path, map_location=map_location, weights_only=True))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace_by_link(source: Path, target: Path) -> None:
    """A second name for a file that costs no space; a copy where the file system knows no hard links."""
    temporary = target.with_name(f".{target.name}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
        _sync(temporary)
    temporary.replace(target)
    # Renaming one name of a file to another name of the same file does nothing, says POSIX.
    temporary.unlink(missing_ok=True)
