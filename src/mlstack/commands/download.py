"""Fetch a data set before it is needed, or remove what was fetched.

python scripts/download.py data=cifar10
python scripts/download.py clean=true       # removes archives, partial files and decoded caches below data/
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from mlstack.config.commands import DownloadConfig
from mlstack.datasets.catalogue import DATASETS
from mlstack.datasets.fetch import MANIFEST
from mlstack.datasets.places import CACHE_NAME, DATA_ROOT, FALLBACK_CACHE, LOCK_NAME

LOCATORS = {  # the sets that can be fetched; each function returns the folder with the files
    "fashion_mnist": "mlstack.datasets.fashion_mnist",
    "cifar10": "mlstack.datasets.cifar",
    "cifar100": "mlstack.datasets.cifar",
}
NOTHING_TO_FETCH = {
    "digits": "digits are embedded in scikit-learn: nothing to download",
    "image_folder": "image_folder reads your own images: nothing to download",
    "image_table": "image_table reads your own images: nothing to download",
    "journal": "journal reads what a server has kept: nothing to download",
}


def download(config: DownloadConfig) -> None:
    """Fetch `config.data`, or clean up where `config.clean` is set; says what lies where.

    Raises:
        DownloadError: The set could not be fetched.
        DataError: It can't be fetched at all (ImageNet), or what was fetched is broken.
    """
    if config.clean:
        clean(DATA_ROOT)
    elif config.data.target or config.data.name in NOTHING_TO_FETCH:
        print(NOTHING_TO_FETCH.get(config.data.name, "a data set of your own: nothing to download"))
    elif config.data.name in LOCATORS:
        folder: Path = import_module(LOCATORS[config.data.name]).locate(config.data)
        print(f"{config.data.name} is in {folder} ({_size(folder) / 1e6:.0f} MB)")
        print(f"next: python scripts/train.py data={config.data.name}")
    else:
        from mlstack.datasets import load_dataset

        load_dataset(config.data)  # ImageNet: says how to place it; an unknown name: says which there are
        print(f"{config.data.name} is in its place")


def clean(root: Path) -> None:
    """Remove archives and caches that we put below `root`, and say what; unpacked data and a user's files stay."""
    removed = list(_removable(root))
    for path in removed:
        print(f"removed {path} ({_size(path) / 1e6:.1f} MB)")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    if not removed:
        print(f"nothing to remove below {root}/")


def _removable(root: Path) -> Iterator[Path]:
    """Downloads that a manifest lists, partial files, locks and decoded caches."""
    for name in DATASETS:
        folder = root / name
        manifest = folder / MANIFEST
        ours = manifest.read_text("utf-8").splitlines() if manifest.is_file() else []
        candidates = [folder / entry for entry in ours if entry == Path(entry).name]
        candidates += [*sorted(folder.glob("*.part")), manifest, folder / CACHE_NAME, folder / LOCK_NAME]
        yield from (path for path in candidates if path.exists())
    if (cache := root / FALLBACK_CACHE.name).exists():
        yield cache


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(inner.stat().st_size for inner in path.rglob("*") if inner.is_file())
