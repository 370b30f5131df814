"""Replace a folder by another in one step, so that at every moment one whole folder is to be found.

The new one is made beside the old, as `.<name>.<process>`, and is forced to the disk. Then both change places in one
call (Linux, and most of its file systems); elsewhere the old one is moved to `.<name>.<process>.old` first, and a
process that dies between the two moves leaves both: `recover` puts the old one back.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlstack.errors import OutputError

AT_FDCWD = -100  # linux/fcntl.h: relative to the working directory
RENAME_EXCHANGE = 2  # linux/fs.h


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder, which takes the place of `folder` when the block ends without an exception.

    The new one is locked as long as it is written, so that nobody takes it for what a dead process has left.

    Raises:
        OutputError: It can't be made or moved, or this process is writing the same folder already.
    """
    staging = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _clear(folder)
        staging.mkdir()
        lock = _locked(staging)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield staging
        try:
            _sync(staging)
            _put_in_place(staging, folder)
        except OSError as error:
            raise _unwritable(folder, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        os.close(lock)


def recover(folder: Path) -> None:
    """Put back the old folder where a process died between its two moves; otherwise nothing."""
    with contextlib.suppress(OSError):  # a disk that can only be read: then it is missing, and said to be
        if not folder.exists() and folder.parent.is_dir():
            old = [leftover for leftover in _leftovers(folder) if leftover.name.endswith(".old")]
            if old:
                old[0].rename(folder)


def _clear(folder: Path) -> None:
    """Remove what processes that died while writing have left beside `folder`."""
    recover(folder)
    for leftover in _leftovers(folder):
        shutil.rmtree(leftover)


def _leftovers(folder: Path) -> list[Path]:
    """Folders of writers that are gone; those of a process that still runs are left alone."""
    pattern = re.compile(rf"\.{re.escape(folder.name)}\.(\d+)(\.old)?")
    named = [(match, path) for path in folder.parent.iterdir() if (match := pattern.fullmatch(path.name))]
    return sorted(path for match, path in named if not _is_written(path, int(match[1])))


def _is_written(path: Path, process: int) -> bool:
    """Whether a process is at work on it. Numbers repeat, also between containers: the lock decides."""
    if path.name.endswith(".old"):
        return process != os.getpid() and _is_alive(process)
    try:
        os.close(_locked(path))
    except OSError:
        return True
    return False


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _locked(folder: Path) -> int:
    """A descriptor that holds the folder's lock until it is closed or the process ends.

    Raises:
        OSError: Another one holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _put_in_place(staging: Path, folder: Path) -> None:
    aside = staging.with_name(f"{staging.name}.old")
    if not folder.exists():
        staging.rename(folder)
    elif not _exchange(staging, folder):
        folder.rename(aside)
        try:
            staging.rename(folder)
        except OSError:
            aside.rename(folder)
            raise
    _sync_one(folder.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system can't."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # not Linux
        return False
    done = call(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    return bool(done == 0)


def _sync(folder: Path) -> None:
    """Force every file of a folder, and the folders themselves, to the disk."""
    for place, _, names in os.walk(folder):
        for name in names:
            _sync_one(Path(place) / name)
        _sync_one(Path(place))


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"{folder} can't be written: {error.strerror or error}", hint="choose another output=")
