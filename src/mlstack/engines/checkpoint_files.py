"""The files in `checkpoints/`: epoch_<n>.ckpt for the best few, best.ckpt and last.ckpt; each whole or not at all."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlstack.config import TrainerConfig
from mlstack.errors import OutputError
from mlstack.utils.ranks import is_main_process

LAST = "last.ckpt"


class CheckpointFolder:
    """Which checkpoints are kept, and under which names.

    Args:
        path: Where checkpoints go; made with the first one.
        settings: `mode` decides which one is best; the best `save_top_k` are kept.
        resumed_from: The checkpoint that the run goes on from.
    """

    def __init__(self, path: Path, settings: TrainerConfig, *, resumed_from: Path | None = None) -> None:
        self.path = path
        self.resumed_from = resumed_from
        self.sign = 1.0 if settings.mode == "max" else -1.0
        self.keep = settings.save_top_k
        self.every = settings.checkpoint_every_n_steps
        self.scores: dict[str, float] = {}  # file name → metric, in the order of saving
        self.saved_step = 0  # optimizer steps at the last save

    def state_dict(self) -> dict[str, Any]:
        return {"scores": dict(self.scores)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        known: dict[str, float] = state["scores"]
        self.scores = {name: score for name, score in known.items() if (self.path / name).exists()}
        if self.resumed_from is not None and is_main_process():
            self.link(self.resumed_from.name)  # the process before this one may have been killed before it got there

    @property
    def best(self) -> tuple[int, float] | None:
        """Epoch and score of the best checkpoint; None before the first."""
        if not self.scores:
            return None
        name = self._ranked()[0]
        return int(Path(name).stem.removeprefix("epoch_")), self.scores[name]

    def is_due(self, step: int) -> bool:
        """Whether `checkpoint_every_n_steps` asks for one within the epoch, after so many optimizer steps."""
        return self.every is not None and step // self.every > self.saved_step // self.every

    def rank(self, epoch: int, score: float) -> str:
        """The name of the checkpoint of an epoch, whose place among the best is found before it is written.

        Args:
            epoch: From 0.
            score: The monitored metric; NaN for an epoch without validation.
        """
        name = f"epoch_{epoch}.ckpt"
        if not math.isnan(score):
            self.scores[name] = score
        for worse in self._ranked()[self.keep :]:
            del self.scores[worse]
        return name

    def _ranked(self) -> list[str]:
        """File names, best first; of equal ones the newer first."""
        newest_first = reversed(self.scores.items())
        return [name for name, _ in sorted(newest_first, key=lambda item: -self.sign * item[1])]

    def save(self, name: str, write: Callable[[Path], None]) -> None:
        """Write to a temporary name, force it to the disk, then rename. All ranks call it, rank 0 has the file.

        Args:
            name: Of the file.
            write: Writes a checkpoint to a path; raises OSError.

        Raises:
            OutputError: It can't be written; the checkpoint before is whole.
        """
        temporary = self.path / f".{name}"
        try:
            self.path.mkdir(exist_ok=True)
            write(temporary)
            if is_main_process():
                sync(temporary)
                temporary.replace(self.path / name)
                sync(self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise OutputError(
                f"{self.path / name} can't be written: {error.strerror or error}",
                hint=f"the previous checkpoint is whole; free some space, then type resume={self.path.parent}",
            ) from error

    def link(self, name: str) -> None:
        """Let last.ckpt be `name` and best.ckpt the best of those that are kept; remove the others."""
        replace_by_link(self.path / name, self.path / LAST)
        best = self._ranked()[0] if self.scores else name
        if (self.path / best).exists():
            replace_by_link(self.path / best, self.path / "best.ckpt")
        for path in self.path.glob("epoch_*.ckpt"):
            if path.name not in self.scores:
                path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Force a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_by_link(source: Path, target: Path) -> None:
    """A second name for a file that costs no space; a copy where the file system knows no hard links."""
    temporary = target.with_name(f".{target.name}")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
        sync(temporary)
    temporary.replace(target)
    # Renaming one name of a file to another name of the same file does nothing, says POSIX.
    temporary.unlink(missing_ok=True)
