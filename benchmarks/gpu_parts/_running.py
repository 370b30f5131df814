"""Run a part in a process group of its own, under a hard limit; nothing that it started outlives it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

GRACE = 2.0  # seconds between SIGTERM and SIGKILL
LOOKED_EVERY = 0.2  # seconds
PROC = Path("/proc")


@dataclass(frozen=True)
class Ended:
    """How a part ended.

    Attributes:
        status: Its exit status; below 0 the signal that killed it; None where its time was over.
        seconds: How long it ran.
    """

    status: int | None
    seconds: float


def run_limited(
    command: Sequence[str],
    log: Path,
    *,
    seconds: float,
    look: Callable[[], None] = lambda: None,
    cwd: Path | None = None,
) -> Ended:
    """Run a command until it ends or its time is over.

    Args:
        command: The program and its arguments.
        log: Gets what it says.
        seconds: The limit; ending it may take `GRACE` more.
        look: Called several times a second meanwhile.
        cwd: The folder in which it runs.
    """
    started = time.monotonic()
    with log.open("wb") as said:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=cwd, start_new_session=True
        )
        try:
            while process.poll() is None and time.monotonic() - started < seconds:
                time.sleep(LOOKED_EVERY)
                look()
            status = process.poll()
        finally:
            end_tree(process)
    look()
    return Ended(status, time.monotonic() - started)


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process, its group, and descendants that have left the group; politely first, then at once."""
    if process.poll() is None:
        family = descendants(process.pid)
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        for pid in family:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def descendants(pid: int) -> set[int]:
    """Processes that a process has started, and theirs; none where there is no /proc."""
    parents: dict[int, int] = {}
    for folder in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # it has just ended
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    family = {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return family - {pid}


def part_command(name: str, rows: Path, folder: Path, *, dry: bool) -> list[str]:
    """How a part is started."""
    words = ["--rows", str(rows), "--folder", str(folder), *(["--dry"] if dry else [])]
    return [sys.executable, "-m", f"gpu_parts.{name}", *words]
