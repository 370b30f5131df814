"""What ends a training before its time: SIGTERM, Ctrl-C, a terminal that closes, a score that gets no better."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from mlstack.utils.console import leave_terminal, say
from mlstack.utils.ranks import is_main_process

AGREED_EVERY = 8  # turns of the loop between two questions of the ranks to each other whether to stop
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
REPEATED = 2.0  # seconds in which another SIGTERM is the same one


class StoppedBySignal(BaseException):
    """Leaves a framework's loops once the checkpoint is written.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class SignalNote:
    """Notes a signal, to be acted on between two turns of the training loop. A second one has its usual effect.

    But for a SIGTERM within two seconds of the first: Paddle's launcher sends three, 0.2 s apart.

    With several ranks all of them stop at the same turn: a signal that one of them got is noticed by the others within
    16 turns.

    Args:
        world_size: Processes that train.
        ask: Starts to find the greatest of a number over all ranks, and returns how to read the answer later.

    Attributes:
        received: The signal's number; 0 before one came.
    """

    def __init__(self, *, world_size: int = 1, ask: Callable[[int], Callable[[], int]] | None = None) -> None:
        self.world_size, self.ask = world_size, ask
        self.received = 0
        self._since = 0.0
        self._turns = 0
        self._answer: Callable[[], int] | None = None
        self._before: dict[int, Any] = {}

    def listen(self) -> None:
        """From now on."""
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread may handle signals
        for number in HANDLED:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue  # nohup: it is to outlive its terminal
            self._before[number] = signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGHUP:
            leave_terminal()
        if not self.received:
            self.received, self._since = number, now
            signal.signal(signal.SIGINT, signal.default_int_handler)
        elif now - self._since > REPEATED:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    def turn(self) -> int:
        """The signal on which all ranks act now, after a turn of the loop, or 0.

        The answer to a question is read when the next one is asked: by then it has long arrived, and nobody waits.
        """
        if self.world_size == 1 or self.ask is None:
            return self.received
        self._turns += 1
        if self._turns % AGREED_EVERY:
            return 0
        answer = self._answer() if self._answer is not None else 0
        self._answer = self.ask(self.received)
        return answer

    def announce(self, number: int) -> None:
        """Say what happens now."""
        if is_main_process():
            name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
            say(f"{name}: writing a checkpoint, then stopping")

    def close(self) -> None:
        """Let signals be handled as before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


class Patience:
    """Early stopping: over once a score has not got better for so many validations in a row.

    Args:
        mode: `max` or `min`: whether more or less of the score is better.
        patience: Validations without a new best that end the training.
    """

    def __init__(self, *, mode: str, patience: int) -> None:
        self.sign, self.patience = (1.0 if mode == "max" else -1.0), patience
        self.best: float | None = None
        self.waited = 0

    def observe(self, score: float) -> bool:
        """Take the score of a validation (NaN counts as no improvement); whether to stop now."""
        if not math.isnan(score) and (self.best is None or self.sign * score > self.sign * self.best):
            self.best, self.waited = score, 0
        else:
            self.waited += 1
        return self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.waited = state["best"], state["waited"]
