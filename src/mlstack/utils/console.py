"""What a command says: to the terminal, and to the run's train.log where there is one."""

from __future__ import annotations

import logging
import os
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
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s"))
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        handler.close()
