"""A folder of 500 × 375 JPEGs against torchvision's ImageFolder + Pillow: `python benchmarks/jpeg_folder.py`, 1 minute.

From files to normalised float32 tensors of 224 × 224; one process, one thread, CPU seconds. Two recipes, each with the
same augmentations on both sides. `random crop` carries the bars: 1.8 × from files, 8 × from the decoded cache. `random
resized crop` is printed beside it: from a file a picture is resampled twice (to the 256 pixels that the cache would
hold, then to its crop), the price of batches that are the same bytes with and without the cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import (
    Compose,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
    ToTensor,
)

from _photographs import make_photographs
from _timing import Row, interleave, median_ratio, print_table
from mlstack.config import AugmentConfig, DataConfig
from mlstack.datasets import Split, load_dataset
from mlstack.datasets.loader import BatchLoader

COUNT = 128  # training pictures; 16 more for val and test
BATCH = 32
SIZE = 224
REPEATS = 5
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FLOAT = ToTensor(), Normalize(MEAN, STD)
RECIPES = {
    "random crop 224 of 256": (
        AugmentConfig(flip=0.5, crop=1),  # 1 = the least: places up to 1 pixel beyond the edge
        [Resize(256), RandomCrop(SIZE), RandomHorizontalFlip(), *FLOAT],
        (1.8, 8.0),
    ),
    "random resized crop": (
        AugmentConfig(flip=0.5, resized_crop=0.08),
        [RandomResizedCrop(SIZE), RandomHorizontalFlip(), *FLOAT],
        (None, None),
    ),
}


def main() -> None:
    """Make the pictures, run the contenders in turns, print a table a recipe."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_photographs(folder, COUNT)
        splits = {cache: our_split(folder, cache) for cache in ("none", "disk")}
        for recipe, (augment, transforms, bars) in RECIPES.items():
            contenders = {
                "ImageFolder + Pillow": their_epoch(folder, transforms),
                "mlstack, from files": our_epoch(splits["none"], augment),
                "mlstack, decoded cache": our_epoch(splits["disk"], augment),
            }
            seconds = interleave(contenders, REPEATS)
            reference = seconds.pop("ImageFolder + Pillow")
            rows = [Row("ImageFolder + Pillow, DataLoader", COUNT / median(reference))]
            for (contender, times), bar in zip(seconds.items(), bars, strict=True):
                rows.append(Row(contender, COUNT / median(times), median_ratio(times, reference), bar))
            print_table(f"500 × 375 JPEGs to {SIZE} × {SIZE}: {recipe}, flip, normalise", "images / CPU second", rows)


def our_split(folder: Path, cache: str) -> Split:
    """The training split, read from files or from the decoded cache."""
    config = DataConfig(name="image_folder", path=str(folder), cache=cache, mean=list(MEAN), std=list(STD))
    return load_dataset(config).splits["train"]


def our_epoch(split: Split, augment: AugmentConfig) -> Callable[[], None]:
    """Through all pictures, normalised picture by picture into one buffer, which stays in the processor's cache."""
    loader = BatchLoader(split, batch_size=BATCH, image_size=SIZE, shuffle=True, augment=augment)
    scale = (1 / (255 * torch.tensor(STD))).repeat(SIZE, SIZE, 1)
    shift = (-torch.tensor(MEAN) / torch.tensor(STD)).repeat(SIZE, SIZE, 1)
    floats = torch.empty(2 * BATCH, SIZE, SIZE, 3)  # channels last; used again by each step

    def epoch() -> None:
        for step in range(len(loader)):
            for row, picture in enumerate(torch.from_numpy(loader.batch(0, step).images)):
                torch.addcmul(shift, picture.float(), scale, out=floats[row])

    return epoch


def their_epoch(folder: Path, transforms: list[object]) -> Callable[[], None]:
    """The same pictures through torchvision's data set and transforms."""
    loader = DataLoader(ImageFolder(str(folder / "train"), Compose(transforms)), batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


if __name__ == "__main__":
    main()
