"""How a run ends: results.json says so, whatever the end.

A run is `running` until it has ended well (`finished`), was stopped (`interrupted`) or broke off (`failed`); the latter
two with the error. Only a process that is killed outright (`kill -9`, a power cut) can't write that down.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from mlstack.errors import MLStackError, OutputError, RunError
from mlstack.runs import RunFolder, discard_run
from mlstack.utils.console import leave_terminal, say

# Held while a run goes on and given back before its end is written, so that a full disk still has room for that:
# bytes, five times what results.json takes.
RESERVE, RESERVED = ".reserve", 16 * 1024
# What ends a process without a word unless somebody handles it: a scheduler, a terminal that closes.
ENDINGS = (signal.SIGTERM, signal.SIGHUP)
WAITING = (*ENDINGS, signal.SIGINT)


@contextmanager
def end_recorded(run: RunFolder, *, is_new: bool) -> Iterator[None]:
    """Write into results.json how a run ended that leaves this block by an error or a signal, and say how to go on.

    A run whose mistake shows before its first row of metrics leaves no folder behind.

    Args:
        run: The run; what the block itself records about its good end stays.
        is_new: Whether this process has begun it.

    Raises:
        OutputError: The disk is full already.
    """
    with _signals_raised():
        try:
            _reserve(run)
            yield
        except MLStackError as error:
            if is_new and not run.metrics_path.exists() and not run.has_checkpoint:  # nothing to keep
                discard_run(run)
            else:
                _write_end(run, error)
            raise
        except BaseException as error:
            _write_end(run, error)
            if run.has_checkpoint:
                say(way_on(run))
            raise
        finally:
            _release(run)


def status_of(error: BaseException) -> str:
    """What an error makes of a run: `interrupted` by a signal or Ctrl-C, else `failed`."""
    return "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"


def way_on(run: RunFolder) -> str:
    """The command that goes on with a run."""
    return f"go on with  python scripts/train.py resume={run.path}"


def _write_end(run: RunFolder, error: BaseException) -> None:
    _release(run)
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITING)  # a second signal comes when it is written
    try:
        with contextlib.suppress(OutputError, RunError):  # a disk that is full again, a folder that is gone
            if run.read_results().get("status") == "running":  # else it had not begun, or has ended well
                run.update_results(status=status_of(error), error=f"{type(error).__name__}: {error}")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITING)


def _reserve(run: RunFolder) -> None:
    path = run.path / RESERVE
    try:
        path.write_bytes(os.urandom(RESERVED))  # random: a file system that compresses has to hold them too
    except OSError as error:
        _release(run)
        raise OutputError(f"{path} can't be written: {error.strerror or error}", hint="is the disk full?") from error


def _release(run: RunFolder) -> None:
    with contextlib.suppress(OSError):
        (run.path / RESERVE).unlink(missing_ok=True)


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Let what would end the process without a word raise SystemExit. Who ignores it (nohup) or handles it, goes on."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    unhandled = [number for number in ENDINGS if signal.getsignal(number) == signal.SIG_DFL]
    for number in unhandled:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in unhandled:
            signal.signal(number, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    if number == signal.SIGHUP:
        leave_terminal()
    sys.exit(128 + number)  # as shells count
