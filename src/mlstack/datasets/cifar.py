"""CIFAR-10 and CIFAR-100 (https://www.cs.toronto.edu/~kriz/cifar.html): 60,000 colour pictures of 32 × 32 pixels.

The binary version is read. The python version is pickled, and unpickling runs whatever the file says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.config.data import DataConfig
from mlstack.datasets.archives import unpack
from mlstack.datasets.base import Dataset
from mlstack.datasets.build import dataset_from_arrays
from mlstack.datasets.fetch import RemoteFile, fetch, ways_out
from mlstack.datasets.places import data_folder, exclusive
from mlstack.datasets.splits import VAL_STREAM, stratified
from mlstack.errors import DataError, DownloadError

SIDE = 32
PIXELS = 3 * SIDE * SIDE  # bytes a picture: the red plane, the green one, the blue one


@dataclass(frozen=True)
class Layout:
    """How one of the two sets lies on disk.

    Attributes:
        archive: The download; md5 and size as published with the set.
        folder: What it unpacks to.
        train: Its training files.
        test: Its test file.
        names: Its file of class names, a line each.
        label_bytes: Bytes before each picture; the last of them is the label.
        classes: How many.
    """

    archive: RemoteFile
    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    label_bytes: int
    classes: int


LAYOUTS = {
    "cifar10": Layout(
        archive=RemoteFile(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            md5="c32a1d4ab5d03f1284b67883e8d87530",
            size=170_052_171,
        ),
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        test="test_batch.bin",
        names="batches.meta.txt",
        label_bytes=1,
        classes=10,
    ),
    "cifar100": Layout(
        archive=RemoteFile(
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            md5="03b5dce01913d631647c71ecec9e9cb8",
            size=168_513_733,
        ),
        folder="cifar-100-binary",
        train=("train.bin",),
        test="test.bin",
        names="fine_label_names.txt",
        label_bytes=2,  # coarse, then fine
        classes=100,
    ),
}


def load(config: DataConfig) -> Dataset:
    """The set that `config.name` names; `val` is held out of its training pictures."""
    layout = LAYOUTS[config.name]
    folder = locate(config)
    train = [_records(folder / name, layout) for name in layout.train]
    pictures, labels = np.concatenate([part[0] for part in train]), np.concatenate([part[1] for part in train])
    kept, held = stratified(labels, fraction=config.val_fraction, seed=config.split_seed, stream=VAL_STREAM)
    parts = {"train": (pictures[kept], labels[kept]), "val": (pictures[held], labels[held])}
    parts["test"] = _records(folder / layout.test, layout)
    return dataset_from_arrays(config, parts, name=config.name, classes=_class_names(folder / layout.names, layout))


def locate(config: DataConfig) -> Path:
    """The folder with the binary files: unpacked or fetched first where needed.

    Raises:
        DataError: An archive that can't be unpacked, or the python version instead of the binary one.
        DownloadError: The set isn't here and could not be fetched.
    """
    layout = LAYOUTS[config.name]
    root = data_folder(config)
    given = root if root.is_file() else root / layout.archive.name
    home = root.parent if root.is_file() else root
    unpacked = home / layout.folder
    for folder in (home, unpacked):
        if (folder / layout.test).is_file():
            return _complete(folder, layout)
    if not given.is_file():
        _refuse_python_version(home)
        if not config.download:
            raise DownloadError(
                f"{config.name} is not in {home}, and data.download=false", hint=ways_out(config.name, home)
            )
        fetch([layout.archive], home, mirrors=config.mirrors, name=config.name)
    with exclusive(home):
        if not unpacked.exists():  # another process may have been faster
            unpack(given, unpacked, members=[*layout.train, layout.test, layout.names])
    return _complete(unpacked, layout)


def _complete(folder: Path, layout: Layout) -> Path:
    missing = [name for name in layout.train if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder} lacks {', '.join(missing)}", hint="delete the folder to fetch the set anew")
    return folder


def _refuse_python_version(folder: Path) -> None:
    for path in sorted(folder.glob("cifar-10*")) if folder.is_dir() else ():
        if "python" in path.name or path.name.endswith("-py"):
            raise DataError(
                f"{path} is the python version of the set, which is pickled and could run anything",
                hint="put the binary version (cifar-10-binary.tar.gz or cifar-100-binary.tar.gz) in its place",
            )


def _records(path: Path, layout: Layout) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One binary file: pictures uint8 [n, 32, 32, 3] and labels int64 [n]."""
    record_size = layout.label_bytes + PIXELS
    raw = np.fromfile(path, np.uint8)
    if len(raw) == 0 or len(raw) % record_size:
        raise DataError(
            f"{path} has {len(raw)} bytes, not a multiple of {record_size}: it is cut off or another kind of file",
            hint="delete its folder to unpack or fetch the set anew",
        )
    records = raw.reshape(-1, record_size)
    labels = records[:, layout.label_bytes - 1].astype(np.int64)
    if labels.max() >= layout.classes:
        raise DataError(f"{path} has the label {labels.max()}, but there are {layout.classes} classes")
    planes = records[:, layout.label_bytes :].reshape(-1, 3, SIDE, SIDE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _class_names(path: Path, layout: Layout) -> list[str]:
    """The names in the set's own text file; numbers where somebody left that file away."""
    lines = path.read_text("utf-8").split() if path.is_file() else []
    return lines if len(lines) == layout.classes else [str(label) for label in range(layout.classes)]
