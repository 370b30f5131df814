"""Fashion-MNIST (https://github.com/zalandoresearch/fashion-mnist): 70,000 grey pictures of 28 × 28 pixels.

Debian's package dataset-fashion-mnist is used where it is installed; else data/fashion_mnist, else a download.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.config.data import DataConfig
from mlstack.datasets.base import Dataset
from mlstack.datasets.build import dataset_from_arrays
from mlstack.datasets.fetch import RemoteFile, fetch, ways_out
from mlstack.datasets.places import data_folder
from mlstack.datasets.splits import VAL_STREAM, stratified
from mlstack.errors import DataError, DownloadError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
BASE = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FILES = (  # md5 as published with the set, size in bytes
    RemoteFile(BASE + "train-images-idx3-ubyte.gz", md5="8d4fb7e6c68d591d4c3dfef9ec88bf0d", size=26_421_880),
    RemoteFile(BASE + "train-labels-idx1-ubyte.gz", md5="25c81989df183df01b3e8a0aad5dffbe", size=29_515),
    RemoteFile(BASE + "t10k-images-idx3-ubyte.gz", md5="bef4ecab320f06d8554ea6380940ec79", size=4_422_102),
    RemoteFile(BASE + "t10k-labels-idx1-ubyte.gz", md5="bb300cfdad3c16e7a12a480ee83cd310", size=5_148),
)
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
)  # fmt: skip
UNSIGNED_BYTE = 8  # the only type code of idx files that this set uses


def load(config: DataConfig) -> Dataset:
    """The set; `val` is held out of its 60,000 training pictures."""
    folder = locate(config)
    pictures, labels = _pair(folder, "train")
    kept, held = stratified(labels, fraction=config.val_fraction, seed=config.split_seed, stream=VAL_STREAM)
    parts = {"train": (pictures[kept], labels[kept]), "val": (pictures[held], labels[held])}
    parts["test"] = _pair(folder, "t10k")
    return dataset_from_arrays(config, parts, name="fashion_mnist", classes=CLASSES)


def locate(config: DataConfig) -> Path:
    """The folder with the four idx files, gzipped or not; they are fetched first where needed."""
    places = [data_folder(config)] if config.path else [DEBIAN, data_folder(config)]
    for place in places:
        missing = [file.name for file in FILES if _find(place, file.name) is None]
        if not missing:
            return place
    folder = places[-1]
    if not config.download:
        raise DownloadError(
            f"{folder} lacks {', '.join(missing)}, and data.download=false", hint=ways_out(config.name, folder)
        )
    fetch(FILES, folder, mirrors=config.mirrors, name=config.name)
    return folder


def _find(folder: Path, name: str) -> Path | None:
    """The file itself, or the same one already unzipped."""
    candidates = (folder / name, folder / name.removesuffix(".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _pair(folder: Path, prefix: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures uint8 [n, 28, 28, 1] and labels int64 [n]."""
    pictures = _idx(folder, f"{prefix}-images-idx3-ubyte.gz", dimensions=3)[..., None]
    labels = _idx(folder, f"{prefix}-labels-idx1-ubyte.gz", dimensions=1).astype(np.int64)
    if len(pictures) != len(labels):
        raise DataError(f"{folder} has {len(pictures)} {prefix} images and {len(labels)} labels")
    return pictures, labels


def _idx(folder: Path, name: str, *, dimensions: int) -> NDArray[np.uint8]:
    """An idx file: two zeros, type code, number of dimensions, each as big-endian uint32, then the bytes."""
    path = _find(folder, name) or folder / name
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            raw = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} can't be read: {error}", hint="delete it to fetch it anew") from error
    header = 4 + 4 * dimensions
    shape = tuple(np.frombuffer(raw[4:header], ">u4").astype(int)) if len(raw) >= header else ()
    if raw[:4] != bytes((0, 0, UNSIGNED_BYTE, dimensions)) or len(raw) - header != np.prod(shape):
        raise DataError(f"{path} is not a whole idx file of {dimensions} dimensions", hint="delete it to fetch it anew")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)
