"""What a command says: to the terminal, and to the run's train.log where there is one."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOGGER = logging.getLogger("mlstack")


class _Terminal(logging.Handler):
    """Prints to standard output without breaking a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            bars = sys.modules.get("tqdm")  # where nobody has imported it there is no bar, and a service has no tqdm
            (bars.tqdm.write if bars else print)(self.format(record), file=sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read along has left (`| head`); the run goes on, and train.log too
            _silence(sys.stdout.fileno())


class _LogFile(logging.FileHandler):
    """Writes a run's log until it can't: a full disk costs one line on the terminal, not a traceback a record."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self.setLevel(logging.CRITICAL + 1)  # no more of it
        say(f"warning: {self.baseFilename} can't be written: {error.strerror or error}")

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written above is tried once more
            super().close()


def say(text: str = "") -> None:
    """Tell the user something, on the terminal and in the run's log."""
    if not any(isinstance(handler, _Terminal) for handler in LOGGER.handlers):
        LOGGER.addHandler(_Terminal())
        LOGGER.setLevel(logging.INFO)
        LOGGER.propagate = False
    for line in text.splitlines() or [""]:
        LOGGER.info(line)


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Also write what is said, each line with its time, to a file."""
    handler = _LogFile(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s"))
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        handler.close()


def leave_terminal() -> None:
    """Send standard output and error nowhere where they lead to a terminal: one that has closed refuses each word."""
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(stream).st_mode):
                _silence(stream)


def _silence(stream: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream)
    os.close(nowhere)
