"""What surrounds a training: other processes, signals, memory that runs out, trackers that have to be closed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from pytorch_lightning.loggers import Logger

from mlstack.config import Config
from mlstack.engines.lightning.signals import StoppedBySignal
from mlstack.engines.lightning.trackers import close_trackers
from mlstack.errors import TrainingError
from mlstack.runs import RUN_FOLDER_VARIABLE, RunFolder


@contextmanager
def launching(run: RunFolder) -> Iterator[None]:
    """Tell the processes that Lightning starts for the other devices the run folder; let Ctrl-C stay what it is."""
    before = os.environ.get(RUN_FOLDER_VARIABLE)
    os.environ[RUN_FOLDER_VARIABLE] = str(run.path.absolute())
    try:
        yield
    except StoppedBySignal as stopped:
        if stopped.number == signal.SIGINT:
            raise KeyboardInterrupt from stopped
        raise SystemExit(128 + stopped.number) from stopped  # as shells count
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Lightning's answer is sys.exit(1)
            raise KeyboardInterrupt from error
        raise
    finally:
        os.environ.pop(RUN_FOLDER_VARIABLE)
        if before is not None:
            os.environ[RUN_FOLDER_VARIABLE] = before


@contextmanager
def explained(config: Config) -> Iterator[None]:
    """Turn memory that runs out into one message with the next batch size to try."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        size = config.data.batch_size
        raise TrainingError(
            f"out of memory with data.batch_size={size}",
            hint=f"try data.batch_size={max(1, size // 2)} trainer.accumulate_grad_batches="
            f"{2 * config.trainer.accumulate_grad_batches} (the same step in smaller parts)\n"
            "or trainer.precision=bf16, model.gradient_checkpointing=true, a smaller data.image_size",
        ) from error


@contextmanager
def closing_unless_done(trackers: Sequence[Logger]) -> Iterator[None]:
    """End the trackers' records of a training that does not get to its end; the next run would go on in them."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        close_trackers(trackers, status="interrupted" if stopped else "failed")
        raise
