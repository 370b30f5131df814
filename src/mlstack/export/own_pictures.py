"""The pictures and the class names that come with an ONNX file of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.config.export import ExportConfig
from mlstack.datasets.decode import decoded_side, read_images
from mlstack.datasets.files import find_images
from mlstack.errors import DataError, ExportError

RANDOM_PICTURES = 64


@dataclass(frozen=True)
class OwnPictures:
    """Pictures to judge a model by, and others to calibrate it on.

    Attributes:
        judged: uint8 [n, size, size, channel].
        labels: int64 [n], or [0] where nobody knows them.
        calibration: uint8 [m, size, size, channel]; empty where nothing is calibrated.
        source: What they are, in words.
        names: Of the files of `judged`; empty = they are random.
    """

    judged: NDArray[np.uint8]
    labels: NDArray[np.int64]
    calibration: NDArray[np.uint8]
    source: str
    names: tuple[str, ...]


def read_classes(path: Path | None, count: int) -> tuple[str, ...]:
    """Names of the classes, from a text file with one a line.

    Args:
        path: The file; None = `class_0`, `class_1`, ….
        count: How many the model knows.

    Raises:
        ExportError: The file is missing, not UTF-8, or names another number of classes.
    """
    if path is None:
        return tuple(f"class_{index}" for index in range(count))
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ExportError(f"classes={path} can't be read: {reason}") from error
    names = tuple(line.strip() for line in lines)
    if "" in names:
        line = names.index("") + 1
        raise ExportError(f"classes={path}: line {line} is empty", hint="give each class a name, one a line")
    if len(names) != count:
        raise ExportError(
            f"classes={path} names {len(names):,} classes, and the model answers with {count:,} numbers",
            hint="name one class a line, in the order of its answers; some models have a background class in front",
        )
    return names


def read_pictures(config: ExportConfig, classes: Sequence[str], *, size: int, channels: int) -> OwnPictures:
    """Read what `images=` names, drawn by `quantize.seed` where that is more than is needed.

    Args:
        config: `images`, `resize`, `parity_images` and `quantize`.
        classes: Names of the classes, which folders may have.
        size: Height and width of the input, in pixels.
        channels: 1 or 3.

    Raises:
        DataError: `images=` names nothing, or a picture can't be read.
    """
    if not config.images:
        noise = np.random.default_rng(config.quantize.seed).integers(0, 256, (RANDOM_PICTURES, size, size, channels))
        empty = np.empty((0, size, size, channels), np.uint8)
        source = f"{RANDOM_PICTURES} random pictures of seed {config.quantize.seed}"
        return OwnPictures(noise.astype(np.uint8), np.empty(0, np.int64), empty, source, ())
    paths = _named(config.images)
    known = _labels(config.images, paths, classes)
    calibrated = config.quantize.mode == "int8"
    judged, calibration = _drawn(len(paths), config, calibrated=calibrated)

    def read(rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        side = decoded_side(size, config.resize)
        return read_images([paths[row] for row in rows], size=size, side=side, channels=channels, resize=config.resize)

    named = ",".join(Path(name).name for name in config.images)  # a bundle tells no folder of this machine
    both = " (too few to calibrate on others)" if calibrated and len(paths) < 2 else ""
    source = f"{len(judged):,} of the {len(paths):,} pictures of images={named}{both}"
    labels = np.empty(0, np.int64) if known is None else known[judged]
    names = tuple(paths[row].name for row in judged)
    return OwnPictures(read(judged), labels, read(calibration), source, names)


def _drawn(count: int, config: ExportConfig, *, calibrated: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the pictures to judge by, and of others, at most as many, to calibrate on."""
    order = np.random.default_rng(config.quantize.seed).permutation(count)
    if not calibrated:
        return np.sort(order[: config.parity_images]), order[:0]
    kept = min(config.quantize.images, count // 2) or count
    rest = order[kept:] if count > kept else order
    return np.sort(rest[: config.parity_images]), order[:kept]


def _named(inputs: Sequence[str]) -> list[Path]:
    try:
        return find_images(inputs)
    except DataError as error:
        message = error.message.replace("input=", "images=", 1)  # as the user has typed it
        raise DataError(message, hint=error.hint.replace("input=", "images=", 1)) from error


def _labels(inputs: Sequence[str], paths: Sequence[Path], classes: Sequence[str]) -> NDArray[np.int64] | None:
    """Labels from the names of the folders, where one folder was named and every picture lies in a class's; else None.

    A name that two classes share tells nothing.
    """
    root = Path(inputs[0]).expanduser()
    if len(inputs) != 1 or not root.is_dir():
        return None
    index = {name: place for place, name in enumerate(classes)}
    folders = [path.relative_to(root).parts[0] for path in paths]
    shared = {name for name in index if classes.count(name) > 1}
    if any(folder not in index or folder in shared for folder in folders):
        return None
    if any(path.parent == root for path in paths):
        return None
    return np.array([index[folder] for folder in folders], np.int64)
