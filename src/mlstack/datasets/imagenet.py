"""ImageNet (ILSVRC 2012): it can't be downloaded without an account, so its folder is placed by hand.

    data/imagenet/train/n01440764/….JPEG      1,000 folders
    data/imagenet/val/n01440764/….JPEG        the same 1,000 folders

The labels of its test images were never published: as in the literature, `test` is the validation set.
"""

from __future__ import annotations

import dataclasses

from mlstack.config.data import DataConfig
from mlstack.datasets.base import Dataset
from mlstack.datasets.folders import scan
from mlstack.datasets.image_folder import USUAL_SIZE, dataset_from_folder
from mlstack.datasets.places import data_folder
from mlstack.errors import DataError

MEAN = [0.485, 0.456, 0.406]  # of the training images, RGB, as used with every published network
STD = [0.229, 0.224, 0.225]
PLACEMENT = (
    "get ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from https://image-net.org (free account)\n"
    "and unpack them to {folder}/train/<class>/ and {folder}/val/<class>/\n"
    "or name the folder that has them: data.path=…; or take another set: data=digits"
)


def load(config: DataConfig) -> Dataset:
    """The two folders, not verified file by file: 1.3 million looks would take minutes at each start."""
    root = data_folder(config)
    if not all((root / part).is_dir() for part in ("train", "val")):
        raise DataError(f"ImageNet is not in {root}", hint=PLACEMENT.format(folder=root))
    found = scan(root, verify=False)
    positions = {"train": found.positions["train"], "val": found.positions["val"], "test": found.positions["val"]}
    found = dataclasses.replace(found, positions=positions)
    if config.channels in (None, 3):
        config = dataclasses.replace(config, mean=config.mean or MEAN, std=config.std or STD)
    return dataset_from_folder(config, found, image_size=USUAL_SIZE, channels=3)
