"""The batch loader against torchvision's CIFAR10 with Pillow's crop and flip: `python benchmarks/loader.py`, 1 minute.

Both sides: random crop of 32 from 40 padded pixels, horizontal flip, normalisation; from files to normalised float32
tensors in batches of 64; one process, one thread, CPU seconds. Expect 8 × or more.
"""

from __future__ import annotations

import hashlib
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10
from torchvision.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToTensor

from _timing import Row, interleave, median_ratio, print_table
from mlstack.config import AugmentConfig, DataConfig
from mlstack.datasets import load_dataset
from mlstack.datasets.loader import BatchLoader

BATCH = 64
PER_FILE = 1000  # pictures in each of the six files
REPEATS = 7


def main() -> None:
    """Make the files, run both sides in turns, print the table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        make_binary(Path(folder) / "binary" / "cifar-10-batches-bin")
        make_pickled(Path(folder) / "pickled" / "cifar-10-batches-py")
        ours, count = our_epoch(Path(folder) / "binary")
        theirs = their_epoch(Path(folder) / "pickled", count)
        seconds = interleave({"torchvision + Pillow": theirs, "mlstack": ours}, REPEATS)
    reference = seconds["torchvision + Pillow"]
    rows = [
        Row("torchvision + Pillow, DataLoader", count / median(reference)),
        Row("mlstack BatchLoader", count / median(seconds["mlstack"]), median_ratio(seconds["mlstack"], reference), 8),
    ]
    print_table(
        f"{count} pictures of 32 × 32, batches of {BATCH}: crop (padding 4), flip, normalise",
        "images / CPU second",
        rows,
    )


def our_epoch(folder: Path) -> tuple[Callable[[], None], int]:
    """A function that goes through one epoch, and the number of pictures in it."""
    dataset = load_dataset(DataConfig(name="cifar10", path=str(folder)))
    augment = AugmentConfig(flip=0.5, crop=4)
    loader = BatchLoader(dataset.splits["train"], batch_size=BATCH, image_size=32, shuffle=True, augment=augment)
    mean, std = np.array(dataset.mean), np.array(dataset.std)
    scale = torch.tensor(1 / (255 * std), dtype=torch.float32).repeat(32, 32, 1)  # [32, 32, 3]: no broadcast inside
    shift = torch.tensor(-mean / std, dtype=torch.float32).repeat(32, 32, 1)

    def epoch() -> None:
        for step in range(len(loader)):
            pictures = torch.from_numpy(loader.batch(0, step).images).float()
            torch.addcmul(shift, pictures, scale).permute(0, 3, 1, 2)  # float32 [batch, 3, 32, 32], channels last

    return epoch, len(dataset.splits["train"])


def their_epoch(folder: Path, count: int) -> Callable[[], None]:
    """The same with torchvision's data set and transforms, as its tutorials have it."""
    normalise = Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    transform = Compose([RandomCrop(32, padding=4), RandomHorizontalFlip(), ToTensor(), normalise])
    CIFAR10._check_integrity = lambda self: True  # the files are made up: their checksums can't be the published ones
    dataset = torch.utils.data.Subset(CIFAR10(str(folder), train=True, transform=transform), range(count))
    loader = DataLoader(dataset, batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


def pictures_of(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Made-up records: uint8 [n, 3072] in planes and labels [n]."""
    random = np.random.default_rng(number)
    return random.integers(0, 256, (PER_FILE, 3072), np.uint8), np.arange(PER_FILE) % 10


def make_binary(folder: Path) -> None:
    """Write the six files of CIFAR-10's binary version."""
    folder.mkdir(parents=True)
    for number, name in enumerate([*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]):
        pixels, labels = pictures_of(number)
        np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1).tofile(folder / name)


def make_pickled(folder: Path) -> None:
    """Write the same pictures as CIFAR-10's python version."""
    folder.mkdir(parents=True)
    for number, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        pixels, labels = pictures_of(number)
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": labels.tolist()}))
    meta = pickle.dumps({"label_names": [str(digit) for digit in range(10)]})
    (folder / "batches.meta").write_bytes(meta)
    CIFAR10.meta = {**CIFAR10.meta, "md5": hashlib.md5(meta, usedforsecurity=False).hexdigest()}


if __name__ == "__main__":
    main()
