"""What Linux knows of a running process: time on the processor, memory, threads, and what it started."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType

TICKS = os.sysconf("SC_CLK_TCK")  # of a second, in which the kernel counts
INTERVAL = 0.5  # seconds between two looks at memory


def cpu_seconds(pid: int) -> float:
    """Time that it has spent on processors, its own and the kernel's on its behalf, in seconds; to 0.01."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    """Memory that it holds now, in 10^6 bytes."""
    return _status(pid, "VmRSS") * 1024 / 1e6


def peak_mb(pid: int) -> float:
    """Most memory that it ever held, in 10^6 bytes."""
    return _status(pid, "VmHWM") * 1024 / 1e6


def thread_count(pid: int) -> int:
    """Its threads."""
    return _status(pid, "Threads")


def children(pid: int) -> list[int]:
    """Processes that it started and that are still there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def session_members(session: int) -> list[int]:
    """Processes of a session, the children of children that lost their parents among them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session:
            found.append(int(path.parent.name))
    return found


class MemoryWatch:
    """The largest memory that a process holds while the block lasts, looked at again and again."""

    def __init__(self, pid: int) -> None:
        self.largest_mb = resident_mb(pid)
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(INTERVAL):
            self.largest_mb = max(self.largest_mb, resident_mb(self._pid))


def machine_load() -> str:
    """How busy the machine is, to stand beside figures."""
    return f"load {os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores"


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise ProcessLookupError(f"process {pid} has ended")
