"""A data set whose training pictures come several times an epoch.

    data.name=digits data.target=mlstack.validation.repeated:load data.args={times:20}

On a fast GPU an epoch of a small set lasts a fraction of a second: too short for NVML, whose figures look back for up
to a second, and followed each time by a checkpoint. An epoch of twenty times as many pictures is one to look at.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlstack.config.data import DataConfig
from mlstack.datasets import load_dataset
from mlstack.datasets.base import Dataset, Split
from mlstack.datasets.images import pick
from mlstack.errors import ConfigError
from mlstack.validation.synthetic import Numbered

TARGET = "mlstack.validation.repeated:load"


def load(config: DataConfig) -> Dataset:
    """The set `data.name`, its training split `data.args.times` times as long.

    Raises:
        ConfigError: `times` is no whole number above 0.
    """
    times = config.args.get("times")
    if not isinstance(times, int) or times < 1:
        raise ConfigError("data.args.times has to be a whole number above 0", key="data.args", allowed=("times",))
    dataset = load_dataset(replace(config, target=None, args={}))
    train = dataset.splits["train"]
    rows = np.tile(np.arange(len(train), dtype=np.int64), times)
    longer = Split(pick(train.images, rows), train.labels[rows], Numbered("train", len(rows)))
    return replace(dataset, splits={**dataset.splits, "train": longer})


def can_repeat(data: DataConfig) -> bool:
    """Whether `overrides` mean the same set: one of one's own has a target already, and shares would be cut twice."""
    return data.target is None and not data.args and data.class_shares is None


def overrides(times: int) -> list[str]:
    """The words for scripts/train.py that repeat the pictures of a run."""
    return [f"data.target={TARGET}", f"data.args={{times:{times}}}"] if times > 1 else []
