"""Finding pictures that belong to no data set: files, folders and patterns that a user names."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from mlstack.datasets.folders import SUFFIXES
from mlstack.errors import DataError


def find_images(inputs: Iterable[str]) -> list[Path]:
    """The image files that `inputs` name, in order and each once.

    Args:
        inputs: A file is taken as it is; of a folder all images, those in its folders included; of a pattern
            (`photos/*.jpg`) what fits.

    Raises:
        DataError: One of them names nothing.
    """
    found: dict[Path, None] = {}
    for name in inputs:
        paths = _images_of(name)
        if not paths:
            what = "no image there" if Path(name).expanduser().is_dir() else "no such file"
            endings = " ".join(sorted(SUFFIXES))
            raise DataError(
                f"input={name}: {what}",
                hint=f"name a file, a folder or a pattern: 'input=photos/*.jpg'\nimages end in {endings}",
            )
        found.update(dict.fromkeys(paths))
    return list(found)


def _images_of(name: str) -> list[Path]:
    path = Path(name).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    return sorted(
        Path(file)
        for file in glob.glob(str(path), recursive=True)  # noqa: PTH207  (an absolute pattern)
        if Path(file).is_file()
    )
