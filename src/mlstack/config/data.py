"""The `data` group: which images, how they are batched and how they are augmented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlstack.config.keys import group, key

RESIZE_RULES = ("crop", "stretch", "pad")
CACHES = ("none", "disk")
TASKS = ("classification", "multilabel", "regression")
DATASETS = ("digits", "fashion_mnist", "cifar10", "cifar100", "imagenet", "image_folder", "image_table", "journal")


@dataclass
class AugmentConfig:
    """Random changes to training images, drawn for each image on its own; 0 switches one off."""

    flip: float = key(0.0, "Chance of a horizontal flip", minimum=0, maximum=1)
    alternating_flip: bool = key(False, "Mirror each image in every second epoch, half of them first in the first one")
    crop: int = key(0, "Random crop after padding each side by this much", unit="pixels", minimum=0)
    resized_crop: float = key(0.0, "Least share of the area that a random resized crop keeps", minimum=0, maximum=1)
    rotation: float = key(0.0, "Greatest random rotation either way", unit="degrees", minimum=0, maximum=180)
    color_jitter: float = key(0.0, "Strength of random brightness, contrast and saturation", minimum=0, maximum=1)
    erasing: float = key(0.0, "Chance of erasing a random rectangle", minimum=0, maximum=1)
    mixup: float = key(0.0, "Alpha of MixUp, which blends pairs of images and of their labels", minimum=0)
    cutmix: float = key(0.0, "Alpha of CutMix, which pastes a box of one image into another", minimum=0)


@dataclass
class DataConfig:
    """What is learnt from. Keys that are null are derived from the data itself."""

    name: str = key("cifar10", "Data set: " + ", ".join(DATASETS) + "; free text with data.target")
    target: str | None = key(None, "Your own data set, module:callable; gets this group, returns a Dataset")
    args: dict[str, Any] = key({}, "Further arguments for your own data set; of a journal, model: whose answers")
    task: str = key("classification", "What is learnt: one class, several labels, or numbers", choices=TASKS)
    table: str | None = key(None, "CSV of data.name=image_table: a column of file names, and targets", path=True)
    targets: list[str] | None = key(None, "Columns of the table to learn; null = all but file names and split")
    path: str | None = key(None, "Folder with the data; null = data/<name>, downloaded when missing", path=True)
    mirrors: list[str] = key([], "Base URLs that are tried first for a download")
    download: bool = key(True, "Fetch the set when it is not in its folder")
    batch_size: int = key(64, "Images a step", unit="per device", minimum=1)
    balance: bool = key(False, "Draw training images so that each class comes equally often")
    class_shares: list[float] | None = key(
        None, "Share of each class's training images to keep, in the order of the classes", above=0, maximum=1
    )
    num_workers: int = key(0, "Processes that prepare batches; 0 = in the training process", minimum=0)
    pin_memory: bool | None = key(None, "Page-locked batches for faster copies to a GPU; null = when there is a GPU")
    persistent_workers: bool = key(True, "Keep the workers alive between epochs")
    prefetch_factor: int = key(2, "Batches that each worker prepares ahead", minimum=1)
    val_fraction: float = key(
        0.1, "Share of training images held out where there is no val split", above=0, maximum=0.9
    )
    test_fraction: float = key(0.1, "Share held out where there is no test split", above=0, maximum=0.9)
    split_seed: int = key(0, "Seed of those splits, which runs with different values of `seed` share", minimum=0)
    image_size: int | None = key(None, "Height and width of the network's input", unit="pixels", minimum=1)
    decoded_size: int | None = key(
        None, "Size of decoded pictures, whose middle is the input; null = 8/7 of it", unit="pixels", minimum=1
    )
    channels: int | None = key(None, "1 = grey, 3 = colour", minimum=1, maximum=4)
    resize: str = key("crop", "How an image of another shape becomes a square", choices=RESIZE_RULES)
    mean: list[float] | None = key(None, "Mean of each channel, 0 to 1, for normalisation")
    std: list[float] | None = key(None, "Standard deviation of each channel, 0 to 1")
    classes: list[str] | None = key(None, "Class names in the order of their labels; of a regression, its targets")
    target_mean: list[float] | None = key(None, "Mean of each target of a regression; null = of the training images")
    target_std: list[float] | None = key(None, "Standard deviation of each target of a regression")
    cache: str = key("none", "Keep decoded images as uint8; disk = in a file beside the data", choices=CACHES)
    augment: AugmentConfig = group(AugmentConfig)
