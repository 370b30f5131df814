"""scikit-learn's embedded handwritten digits: 1,797 grey pictures of 8 × 8 pixels, no download.

The text file inside the package is read by itself: importing sklearn.datasets would cost a second.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mlstack.config.data import DataConfig
from mlstack.datasets.base import Dataset
from mlstack.datasets.build import dataset_from_arrays
from mlstack.datasets.splits import fill_splits
from mlstack.errors import MissingPackageError

LEVELS = 16  # pixels are 0 to 16 in the file


def load(config: DataConfig) -> Dataset:
    """Digits 0 to 9, split with `test_fraction`, `val_fraction` and `split_seed`."""
    with gzip.open(_file(), "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.int64)  # [1797, 64 pixels + label]
    labels = table[:, -1].copy()
    pictures = ((table[:, :-1] * 255 + LEVELS // 2) // LEVELS).astype(np.uint8).reshape(-1, 8, 8, 1)
    positions = fill_splits(
        {"train": np.arange(len(labels))},
        labels,
        test_fraction=config.test_fraction,
        val_fraction=config.val_fraction,
        seed=config.split_seed,
    )
    parts = {part: (pictures[where], labels[where]) for part, where in positions.items()}
    return dataset_from_arrays(config, parts, name="digits", classes=[str(digit) for digit in range(10)])


def _file() -> Path:
    spec = find_spec("sklearn")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if path.is_file():
            return path
    raise MissingPackageError("scikit-learn==1.9.1", needed_for="data=digits")
