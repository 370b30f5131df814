"""Checkpoints: epoch_<n>.ckpt for the best few, best.ckpt and last.ckpt; whole or not at all, and free of pickle."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from mlstack.config import TrainerConfig
from mlstack.errors import OutputError, RunError
from mlstack.models.pytorch import Classifier


class Checkpoints(Callback):
    """Save at the end of each epoch, after its validation.

    Args:
        folder: Where checkpoints go; made with the first one.
        settings: `monitor` and `mode` decide which one is best; the best `save_top_k` are kept.
    """

    def __init__(self, folder: Path, settings: TrainerConfig) -> None:
        self.folder = folder
        self.monitor = settings.monitor
        self.sign = 1.0 if settings.mode == "max" else -1.0
        self.keep = settings.save_top_k
        self.scores: dict[str, float] = {}  # file name → metric, in the order of saving

    def state_dict(self) -> dict[str, Any]:
        return {"scores": dict(self.scores)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.scores = dict(state_dict["scores"])

    @property
    def best(self) -> tuple[int, float] | None:
        """Epoch and score of the best checkpoint; None before the first."""
        if not self.scores:
            return None
        name = self._ranked()[0]
        return int(Path(name).stem.removeprefix("epoch_")), self.scores[name]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        epoch = trainer.current_epoch
        name = f"epoch_{epoch}.ckpt"
        score = float(trainer.callback_metrics.get(self.monitor, math.nan))
        validated = (epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        if validated and not math.isnan(score):
            self.scores[name] = score
        dropped = self._ranked()[self.keep :]
        for old in dropped:
            del self.scores[old]
        self._save(trainer, name)
        if trainer.is_global_zero:
            self._link(name, dropped)

    def _ranked(self) -> list[str]:
        """File names, best first; of equal ones the newer first."""
        newest_first = reversed(self.scores.items())
        return [name for name, _ in sorted(newest_first, key=lambda item: -self.sign * item[1])]

    def _save(self, trainer: pl.Trainer, name: str) -> None:
        """Write to a temporary name, force it to the disk, then rename. All ranks take part."""
        temporary = self.folder / f".{name}"
        try:
            self.folder.mkdir(exist_ok=True)
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                _sync(temporary)
                temporary.replace(self.folder / name)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise OutputError(
                f"{self.folder / name} can't be written: {error.strerror or error}",
                hint="the previous checkpoint is whole; free some space or choose another output_dir",
            ) from error

    def _link(self, name: str, dropped: list[str]) -> None:
        _replace_by_link(self.folder / name, self.folder / "last.ckpt")
        best = self._ranked()[0] if self.scores else name
        if (self.folder / best).exists():
            _replace_by_link(self.folder / best, self.folder / "best.ckpt")
        kept = set(self.scores)
        for path in self.folder.glob("epoch_*.ckpt"):
            if path.name in dropped or path.name not in kept:
                path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    if path.is_dir():  # a sharded checkpoint
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


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


def load_weights(classifier: Classifier, path: Path) -> None:
    """Put a checkpoint's weights into a network.

    Raises:
        RunError: The file is damaged, no checkpoint of this project, or of another network.
    """
    prefix = "classifier."
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        weights = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        classifier.load_state_dict(weights)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(
            f"{path} can't be loaded: {reason}", hint="try the other one: checkpoint=last or checkpoint=best"
        ) from error
