"""The files of a bundle: their names, sizes and sha256, and whether they are as metadata.json says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from mlstack.bundle.fields import AGAIN
from mlstack.bundle.metadata import FileFacts, Metadata
from mlstack.errors import BundleError

METADATA = "metadata.json"
LITTER = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})  # what desktops leave in folders that they show


def facts_of(path: Path) -> FileFacts:
    """Size in bytes and sha256 of a file.

    Raises:
        BundleError: It can't be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return FileFacts(sha256=digest, bytes=file.tell())
    except OSError as error:
        raise BundleError(f"{path} can't be read: {error.strerror or error}", hint=AGAIN) from error


def files_in(folder: Path) -> Iterator[str]:
    """Every file of a bundle's folder but metadata.json and a desktop's litter; `/` between folders, sorted."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        linked = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in sorted([*names, *linked]):  # a link to a folder is not walked into: it counts as a file
            relative = (Path(place) / name).relative_to(folder).as_posix()
            if relative != METADATA and name not in LITTER:
                yield relative


def check_places(folder: Path, metadata: Metadata) -> None:
    """Refuse a bundle whose files are not there, or lie elsewhere.

    Raises:
        BundleError: A file is missing, is no file, or is a link out of the bundle; the line names it.
    """
    home = folder.resolve()
    for name in metadata.files:
        path = folder / name
        try:
            is_there = path.is_file()
        except OSError as error:
            raise BundleError(f"{path} can't be read: {error.strerror or error}", hint=AGAIN) from error
        if not is_there:
            raise BundleError(f"{path} is missing", hint=AGAIN)
        if not path.resolve().is_relative_to(home):
            raise BundleError(f"{path} is a link to a place outside the bundle", hint="put the file itself there")


def check_contents(folder: Path, metadata: Metadata) -> None:
    """Refuse a bundle whose files were changed after it was written, or that holds others.

    A file that nobody vouches for is refused too: an ONNX file may take its weights from one beside it.

    Raises:
        BundleError: The line names the first such file.
    """
    for name in files_in(folder):
        if name not in metadata.files:
            raise BundleError(
                f"{folder / name} does not belong to the bundle: metadata.json doesn't list it",
                hint="move it elsewhere",
            )
    for name, facts in metadata.files.items():
        path = folder / name
        if path.stat().st_size != facts.bytes:
            size = f"{path.stat().st_size:,} bytes instead of {facts.bytes:,}"
            raise BundleError(f"{path} was changed after the bundle was written: {size}", hint=AGAIN)
        if facts_of(path).sha256 != facts.sha256:
            raise BundleError(f"{path} was changed after the bundle was written: another sha256", hint=AGAIN)
