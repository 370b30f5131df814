"""SIGTERM and Ctrl-C: the step that is going on is finished, a checkpoint is written, then the run stops."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from mlstack.engines.lightning.checkpoints import Checkpoints
from mlstack.utils.console import say

AGREED_EVERY = 8  # turns of the loop between two questions of the ranks to each other whether to stop
HANDLED = (signal.SIGTERM, signal.SIGINT)


class StoppedBySignal(BaseException):
    """Leaves Lightning's loops once the checkpoint is written.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopOnSignal(Callback):
    """Notes a signal and acts on it between two turns of the training loop, or two batches of a validation.

    A second signal has its usual effect. With several ranks all of them stop at the same turn: a signal that one of
    them got is noticed by the others within 16 turns.

    Args:
        checkpoints: Writes the last checkpoint.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.received = 0
        self._turns = 0
        self._asked: torch.Tensor | None = None
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may handle signals
        for number in HANDLED:
            self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for each in HANDLED:
            signal.signal(each, signal.SIG_DFL if each == signal.SIGTERM else signal.default_int_handler)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        self._turns += 1
        if number := self._agreed(trainer):
            self._stop(trainer, pl_module, number)

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        # Several ranks go through a validation at their own pace: they stop at the first turn after it.
        if self.received and trainer.world_size == 1:
            self._stop(trainer, pl_module, self.received)

    def _agreed(self, trainer: pl.Trainer) -> int:
        """The signal on which all ranks act now, or 0.

        The answer to a question is read when the next one is asked: by then it has long arrived, and nobody waits.
        """
        if trainer.world_size == 1:
            return self.received
        if self._turns % AGREED_EVERY:
            return 0
        answer = int(self._asked.item()) if self._asked is not None else 0
        self._asked = torch.tensor([self.received], device=trainer.strategy.root_device)
        torch.distributed.all_reduce(self._asked, torch.distributed.ReduceOp.MAX)
        return answer

    def _stop(self, trainer: pl.Trainer, module: Any, number: int) -> None:
        if trainer.is_global_zero:
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            say(f"{name}: writing a checkpoint, then stopping")
        self.checkpoints.save_last(trainer, module)
        raise StoppedBySignal(number)

    def teardown(self, trainer: pl.Trainer, pl_module: Any, stage: str) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
