"""What surrounds a training: other processes, signals, memory that runs out, trackers that have to be closed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from mlstack.config import Config
from mlstack.engines.stopping import StoppedBySignal
from mlstack.errors import TrainingError
from mlstack.runs import RUN_FOLDER_VARIABLE, RunFolder
from mlstack.trackers import Tracker, close_trackers

# How Gloo, which both frameworks use on a CPU, and NCCL begin what they say of a process that does not answer.
LOST_CONNECTION = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Timed out waiting",
    "remote process exited or there was a network error",
)


@contextmanager
def announced(run: RunFolder) -> Iterator[None]:
    """Tell the processes that are started for the other devices the run folder; let a signal end as signals do."""
    before = os.environ.get(RUN_FOLDER_VARIABLE)
    os.environ[RUN_FOLDER_VARIABLE] = str(run.path.absolute())
    try:
        yield
    except StoppedBySignal as stopped:
        if stopped.number == signal.SIGINT:
            raise KeyboardInterrupt from stopped
        raise SystemExit(128 + stopped.number) from stopped  # as shells count
    finally:
        os.environ.pop(RUN_FOLDER_VARIABLE)
        if before is not None:
            os.environ[RUN_FOLDER_VARIABLE] = before


def out_of_memory(config: Config) -> TrainingError:
    """One message with the next batch size to try."""
    size = config.data.batch_size
    return TrainingError(
        f"out of memory with data.batch_size={size}",
        hint=f"try data.batch_size={max(1, size // 2)} trainer.accumulate_grad_batches="
        f"{2 * config.trainer.accumulate_grad_batches} (the same step in smaller parts)\n"
        "or trainer.precision=bf16, model.gradient_checkpointing=true, a smaller data.image_size",
    )


def lost_connection(error: BaseException) -> TrainingError | None:
    """One message where another process of the run, or its machine, is gone; None for any other error."""
    first = next(iter(str(error).splitlines()), "")
    if not any(mark in first for mark in LOST_CONNECTION):
        return None
    cause = first.rpartition(".cc:")[2].partition("] ")[2].partition(". This is typically")[0]
    return TrainingError(
        f"another process of this run is gone: {cause or first}",
        hint="what it said last tells why\n"
        "a job with a name (torchrun's --rdzv-id, or trainer.job) goes on when it is started again; others: resume=",
    )


@contextmanager
def closing_unless_done(trackers: Sequence[Tracker]) -> Iterator[None]:
    """End the trackers' records of a training that does not get to its end; the next run would go on in them."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt | SystemExit)
        close_trackers(trackers, status="interrupted" if stopped else "failed")
        raise
