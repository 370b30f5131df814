"""Unpacking that can't write outside its folder and leaves nothing half-done."""

from __future__ import annotations

import os
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from mlstack.errors import DataError


def unpack(archive: Path, folder: Path, *, members: Sequence[str]) -> None:
    """Take the named files out of a tar archive into a folder that appears only when all are there.

    A member is known by its last name and is written under that name only, so an archive has no say in where
    anything goes; links and devices in it are passed over.

    Args:
        archive: A .tar.gz file.
        folder: What is to appear; it must not exist.
        members: File names to take.

    Raises:
        DataError: Not an archive, broken, or without one of the files.
    """
    work = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        work.mkdir(parents=True)
        with tarfile.open(archive) as tar:
            for entry in tar:
                name = entry.name.rsplit("/", 1)[-1]
                source = tar.extractfile(entry) if entry.isfile() and name in members else None
                if source is not None:
                    with source, (work / name).open("wb") as output:
                        shutil.copyfileobj(source, output)
        missing = [name for name in members if not (work / name).exists()]
        if missing:
            raise DataError(f"{archive} lacks {', '.join(missing)}")
        work.rename(folder)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{archive} can't be unpacked: {error}", hint="delete it to fetch it anew") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
