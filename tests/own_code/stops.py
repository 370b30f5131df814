"""Training in a process of its own that is stopped at a chosen point: a kill, a signal, a disk that is full.

The functions run in children of a fork server, which has imported the frameworks once for all of them.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Besides `trainer.engine` and `model.target`.
USUAL = (
    "data.name=few_digits",
    "data.target=few_digits:load",
    "data.batch_size=8",
    "data.augment.crop=1",
    "data.augment.mixup=0.4",
    "model.learning_rate=0.01",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=3",
    "trainer.accumulate_grad_batches=2",
    "trainer.steps_per_execution=2",
    "trainer.checkpoint_every_n_steps=2",
    "trainer.log_every_n_steps=3",
    "trainer.ema_decay=0.9",
    "trainer.gradient_clip_val=0.5",
    "trainer.progress_bar=false",
    "trainer.limit_test_batches=0",
    "tracker=none",
)


@dataclass(frozen=True)
class Stop:
    """When a process stops itself.

    Attributes:
        point: A function, `module:Class.method` or `module:function`.
        call: At which call of it, counted from 1.
        number: The signal that the process sends to itself.
        after: After the call instead of before it.
        half: The call writes a file; only half of it gets there.
    """

    point: str
    call: int = 1
    number: int = signal.SIGKILL
    after: bool = False
    half: bool = False


def train(words: list[str], output: str, stop: Stop | None = None) -> None:
    """`scripts/train.py` with these words; what it says goes to a file."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    # A child of a fork server would start a data loader's workers by a fork server of its own, which outlives it.
    multiprocessing.set_start_method("fork", force=True)
    import undrawn  # noqa: F401  figures take most of the time, and aren't the matter

    from mlstack.config import Config
    from mlstack.config.command_line import run

    if stop is not None:
        _arm(stop)
    sys.argv = ["scripts/train.py", *words]
    run("mlstack.commands.train:train", Config, stored="mlstack.commands.resume:stored_config")


def _arm(stop: Stop) -> None:
    module, _, path = stop.point.partition(":")
    owner: Any = __import__(module, fromlist=["_"])
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    calls = 0
    original: Callable[..., Any] = getattr(owner, name)

    def stopping(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == stop.call and not (stop.after or stop.half):
            os.kill(os.getpid(), stop.number)
        answer = original(*args, **kwargs)
        if calls == stop.call and stop.half:
            written = next(argument for argument in args if isinstance(argument, Path))
            os.truncate(written, written.stat().st_size // 2)
        if calls == stop.call and (stop.after or stop.half):
            os.kill(os.getpid(), stop.number)
        return answer

    setattr(owner, name, stopping)
