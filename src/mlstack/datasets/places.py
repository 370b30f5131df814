"""Where data lie on disk, and a lock that two processes share while one of them fills a folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlstack.config.data import DataConfig
from mlstack.errors import DataError, OutputError

DATA_ROOT = Path("data")  # relative to the current folder
FALLBACK_CACHE = DATA_ROOT / ".cache"  # decoded pictures of folders that can't be written
CACHE_NAME = ".decoded"  # decoded pictures beside the data
LOCK_NAME = ".lock"


def data_folder(config: DataConfig) -> Path:
    """`data.path`, or data/<name> where that is null; `~` stands for the home folder."""
    return Path(config.path).expanduser() if config.path else DATA_ROOT / config.name


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Make `folder` and hold its lock; a second process waits here. The lock falls when its process ends.

    Raises:
        OutputError: The folder can't be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / LOCK_NAME).open("a")
    except OSError as error:
        raise OutputError(
            f"{folder} can't be written: {error.strerror}", hint="choose another folder: data.path=…"
        ) from error
    with handle:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def check_folder(folder: Path, *, hint: str) -> None:
    """DataError unless `folder` is a folder that can be listed."""
    if not folder.exists():
        raise DataError(f"there is no folder {folder}", hint=hint)
    if not folder.is_dir():
        raise DataError(f"{folder} is a file, not a folder", hint=hint)
    try:
        next(folder.iterdir(), None)
    except OSError as error:
        raise DataError(f"{folder} can't be read: {error.strerror}", hint=hint) from error
