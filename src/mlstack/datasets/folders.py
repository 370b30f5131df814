"""Folders of class folders: what lies in them, and everything that is wrong with them in one message.

photos/cats/1.jpg                          split by a seed
photos/train/cats/1.jpg  photos/val/…      its own split; also training, valid, validation, testing
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.datasets.base import Labels
from mlstack.datasets.inspect_file import Look, look
from mlstack.datasets.places import check_folder
from mlstack.errors import DataError

LOG = logging.getLogger("mlstack.datasets")
SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"))
SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini"))  # file managers leave them; hidden files are passed over too
SPLIT_NAMES = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
NAMED = 3  # files named for each kind of problem
LAYOUT_HINT = "it should hold a folder for each class (photos/cats/1.jpg), or train/ and val/ with those inside"


@dataclass
class Problems:
    """What is wrong, by kind."""

    by_kind: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str) -> None:
        """Note one more of a kind."""
        self.by_kind.setdefault(kind, []).append(name)

    def refuse(self, root: Path, notes: dict[str, list[str]]) -> None:
        """Raise one DataError that names every kind, the first few files of each; nothing where all is well."""
        if not self.by_kind:
            return
        count = sum(len(names) for names in self.by_kind.values())
        raise DataError(
            f"{count} problem{'s' if count > 1 else ''} in {root}",
            hint="\n".join(summary(kind, names) for kind, names in (self.by_kind | notes).items()),
        )


@dataclass(frozen=True)
class Found:
    """What lies in a folder.

    Attributes:
        root: The folder.
        classes: Names of the class folders, in the order of their labels; or of a table's classes, labels or targets.
        names: Paths of the images relative to `root`, with `/`.
        labels: int64 [n]; float32 [n, label or target] of a table of such.
        positions: For each split that the folder has by itself: int64 positions in `names`.
        looks: What a look at each file showed; empty where none was taken.
        task: What is learnt.
    """

    root: Path
    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: Labels
    positions: dict[str, NDArray[np.int64]]
    looks: Sequence[Look]
    task: str = "classification"

    def fingerprint(self) -> str:
        """sha256 over class names, file names, sizes, and the first and last 4 KiB of each file.

        A folder of photographs is too large to be read in full at each start; where no look was taken
        (ImageNet), names and sizes have to do.
        """
        digest = hashlib.sha256(repr(self.classes).encode())
        for index, name in enumerate(self.names):
            part = self.looks[index].digest if self.looks else b"%d" % (self.root / name).stat().st_size
            digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + part)
        return digest.hexdigest()


def scan(root: Path, *, verify: bool) -> Found:
    """Find classes and images, in the order of their names.

    Args:
        root: The folder.
        verify: Look at both ends of every file.

    Raises:
        DataError: One message with the number and the first names of corrupt images, empty classes, unreadable
            folders and classes that the training images lack.
    """
    check_folder(root, hint=LAYOUT_HINT)
    problems, strangers = Problems(), dict[str, list[str]]()
    parts = _parts(root)
    classes = _visible_folders(root / parts["train"] if parts else root)
    if not classes:
        raise DataError(f"{root} has no class folders", hint=LAYOUT_HINT)
    if len(classes) == 1:
        raise DataError(f"{root} has one class folder only ({classes[0]}), at least 2 are needed", hint=LAYOUT_HINT)
    names: list[str] = []
    labels: list[int] = []
    positions: dict[str, NDArray[np.int64]] = {}
    for part, folder in (parts or {"": ""}).items():
        start = len(names)
        place = root / folder
        for extra in sorted(set(_visible_folders(place)) - set(classes)):
            problems.add("classes that the training images lack", f"{folder}/{extra}")
        for label, name in enumerate(classes):
            images = _images(root, place / name, problems, strangers)
            if not images and part in ("train", ""):
                problems.add("empty classes", (Path(folder) / name).as_posix())
            names += images
            labels += [label] * len(images)
        positions[part or "train"] = np.arange(start, len(names))
    looks = look_at(root, names, problems) if verify else ()
    problems.refuse(root, strangers)
    for kind, strange in strangers.items():
        LOG.warning("%s: %s", root, summary(kind, strange))
    return Found(root, tuple(classes), tuple(names), np.array(labels, np.int64), positions, looks)


def summary(kind: str, names: Sequence[str]) -> str:
    """`corrupt images (12): a.jpg, b.jpg, c.jpg, …`"""
    dots = ", …" if len(names) > NAMED else ""
    return f"{kind} ({len(names)}): {', '.join(names[:NAMED])}{dots}"


def _parts(root: Path) -> dict[str, str]:
    """Split → its folder's name; empty where the folder has no split of its own."""
    parts: dict[str, str] = {}
    for folder in _visible_folders(root):
        part = next((part for part, words in SPLIT_NAMES.items() if folder.lower() in words), None)
        if part in parts:
            raise DataError(
                f"{root} has both {parts[part]}/ and {folder}/, which mean the same", hint="remove one of them"
            )
        if part:
            parts[part] = folder
    if parts and "train" not in parts:
        present = ", ".join(f"{folder}/" for folder in parts.values())
        raise DataError(f"{root} has {present} but no train/", hint=LAYOUT_HINT)
    return parts


def _visible_folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _images(root: Path, folder: Path, problems: Problems, strangers: dict[str, list[str]]) -> list[str]:
    """Paths of the images below a class folder, relative to the root; a missing folder has none."""
    found: list[str] = []

    def unreadable(error: OSError) -> None:
        if folder.exists():
            problems.add("unreadable folders", Path(error.filename).relative_to(root).as_posix())

    for place, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        prefix = Path(place).relative_to(root).as_posix()
        for name in sorted(files):
            if name.startswith(".") or name.lower() in SYSTEM_FILES:
                continue
            if Path(name).suffix.lower() in SUFFIXES:
                found.append(f"{prefix}/{name}")
            else:
                strangers.setdefault("files that are not images, left out", []).append(f"{prefix}/{name}")
    return found


def look_at(root: Path, names: Sequence[str], problems: Problems) -> list[Look]:
    """A look at both ends of every file; what is corrupt is added to `problems`."""
    with ThreadPoolExecutor() as pool:
        looks = list(pool.map(lambda name: look(root / name), names))
    for name, seen in zip(names, looks, strict=True):
        if seen.problem:
            problems.add("corrupt images", f"{name} ({seen.problem})")
    return looks
