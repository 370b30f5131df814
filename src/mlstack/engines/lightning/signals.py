"""SIGTERM and Ctrl-C under Lightning: the step that is going on is finished, a checkpoint is written, the run stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from mlstack.engines.lightning.checkpoints import Checkpoints
from mlstack.engines.stopping import SignalNote, StoppedBySignal


class StopOnSignal(Callback):
    """Acts on a signal between two turns of the training loop, or two batches of a validation. See `SignalNote`.

    Args:
        checkpoints: Writes the last checkpoint.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.note = SignalNote()

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        device = trainer.strategy.root_device

        def ask(number: int) -> Callable[[], int]:
            asked = torch.tensor([number], device=device)
            torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
            return lambda: int(asked.item())

        self.note = SignalNote(world_size=trainer.world_size, ask=ask)
        self.note.listen()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        if number := self.note.turn():
            self._stop(trainer, pl_module, number)

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        # Several ranks go through a validation at their own pace: they stop at the first turn after it.
        if self.note.received and trainer.world_size == 1:
            self._stop(trainer, pl_module, self.note.received)

    def _stop(self, trainer: pl.Trainer, module: Any, number: int) -> None:
        self.note.announce(number)
        self.checkpoints.save_last(trainer, module)
        raise StoppedBySignal(number)

    def teardown(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        self.note.close()
