"""Pictures that cost nothing to read: the same shape and as many as a real data set has, in memory from the start.

    data.target=mlstack.validation.synthetic:load
    'data.args={train:1437,val:180,test:180,side:8,channels:1,answers:10}'

A run on them shows how fast training is when data never keep it waiting. One block of pictures is drawn from a seed;
each batch is a copy of its beginning, so that a set as large as ImageNet takes no memory and nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from mlstack.config.data import AugmentConfig, DataConfig
from mlstack.datasets.base import SPLITS, Dataset, Labels, Split
from mlstack.errors import ConfigError

TARGET = "mlstack.validation.synthetic:load"
KEYS = (*SPLITS, "side", "channels", "answers")
SEED = 0


class SameImages:
    """One block of pictures, however many are asked for.

    Args:
        count: How many pictures there seem to be.
        side: Height and width in pixels.
        channels: 1 or 3.
    """

    def __init__(self, count: int, *, side: int, channels: int) -> None:
        self.side = side
        self.channels = channels
        self._count = count
        self._block = self._drawn(1)

    def __len__(self) -> int:
        return self._count

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The block's first pictures, as many as there are indices: uint8 [batch, side, side, channel]."""
        if len(indices) > len(self._block):
            self._block = self._drawn(len(indices))
        return self._block[: len(indices)].copy()

    def _drawn(self, count: int) -> NDArray[np.uint8]:
        shape = (count, self.side, self.side, self.channels)
        return np.random.default_rng(SEED).integers(0, 256, shape, dtype=np.uint8)


class Numbered(Sequence[str]):
    """Names `train/0`, `train/1`, … that are made when they are asked for."""

    def __init__(self, part: str, count: int) -> None:
        self._part = part
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # nobody takes a slice
        return f"{self._part}/{index}"


def load(config: DataConfig) -> Dataset:
    """The data set that `data.args` describes: pictures in each split, side, channels, classes (or labels, targets).

    Raises:
        ConfigError: A key is missing or no whole number above 0.
    """
    wrong = [name for name in KEYS if not isinstance(config.args.get(name), int) or config.args[name] < 1]
    if wrong:
        raise ConfigError(f"data.args.{wrong[0]} has to be a whole number above 0", key="data.args", allowed=KEYS)
    side, channels, answers = (int(config.args[name]) for name in ("side", "channels", "answers"))
    return Dataset(
        name="synthetic",
        classes=tuple(f"class_{index}" for index in range(answers)),
        image_size=side,
        channels=channels,
        mean=(0.5,) * channels,
        std=(0.29,) * channels,  # of evenly spread values: 1 / √12
        splits=dict(_splits(config, side, channels, answers)),
        task=config.task,
    )


def _splits(config: DataConfig, side: int, channels: int, answers: int) -> Iterator[tuple[str, Split]]:
    for part in SPLITS:
        count = int(config.args[part])
        images = SameImages(count, side=side, channels=channels)
        yield part, Split(images, _labels(config.task, count, answers), Numbered(part, count))


def _labels(task: str, count: int, answers: int) -> Labels:
    """Labels as `Split.labels` wants them, each class equally often."""
    if task == "classification":
        return np.arange(count, dtype=np.int64) % answers
    numbers = np.random.default_rng(SEED).standard_normal((count, answers), dtype=np.float32)
    return (numbers > 0).astype(np.float32) if task == "multilabel" else numbers


def overrides(data: DataConfig, counts: dict[str, int]) -> list[str]:
    """The words for scripts/train.py that put synthetic pictures in the place of a run's, and switch augmentation off.

    Args:
        data: The run's settings, with what was derived from its data.
        counts: Pictures in each split.
    """
    shape = {"side": data.image_size, "channels": data.channels, "answers": len(data.classes or ())}
    arguments = ",".join(f"{name}:{value}" for name, value in {**counts, **shape}.items())
    unchanged = AugmentConfig()
    off = [f"data.augment.{one.name}={str(getattr(unchanged, one.name)).lower()}" for one in fields(AugmentConfig)]
    plain = ["data.classes=null", "data.class_shares=null", "data.mean=null", "data.std=null", "data.balance=false"]
    return [f"data.target={TARGET}", f"data.args={{{arguments}}}", *plain, *off]
