"""Calls in forked processes with a time limit. What was imported before need not be imported again."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

MEMORY = 12 * 2**30  # bytes that a mutant may take before it fails with a MemoryError


def forked(call: Callable[[], int], output: Path, limit: float) -> int | None:
    """The exit status of a call in a process and a process group of its own; None where the limit ended it.

    Args:
        call: Returns the exit status.
        output: Where its stdout and stderr go.
        limit: Seconds.
    """
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        _run(call, output)
    try:
        return _wait(process, time.monotonic() + limit)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process, 0)


def _run(call: Callable[[], int], output: Path) -> None:
    """The child's life; it never returns."""
    status = 70  # EX_SOFTWARE: the call itself failed
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started us in the background
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.RLIM_INFINITY))
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (file, 1), (file, 2)):
            os.dup2(source, target)
        status = call()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _wait(process: int, deadline: float) -> int | None:
    while time.monotonic() < deadline:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    return None
