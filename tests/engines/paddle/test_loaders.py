from __future__ import annotations

import mlstack.models.paddle.quiet  # noqa: F401  it imports paddle quietly

# isort: split
import pytest

from mlstack.config import DataConfig
from mlstack.datasets import load_dataset
from mlstack.datasets.loader import BatchLoader
from mlstack.engines.paddle.loaders import GroupedLoader

pytestmark = pytest.mark.framework

DATA = DataConfig(name="few_digits", target="few_digits:load")


def test_no_more_batches_come_once_the_training_is_over() -> None:
    source = BatchLoader(load_dataset(DATA).splits["train"], batch_size=16, image_size=8)
    taken: list[int] = []
    for group in GroupedLoader(source, DATA, steps=6, group=2, is_over=lambda: sum(taken) == 4):
        taken.append(len(group))  # noqa: PERF401  # the loader looks at it
    assert taken == [2, 2]


def test_of_an_epoch_of_which_nothing_is_left_no_turn_comes() -> None:
    source = BatchLoader(load_dataset(DATA).splits["train"], batch_size=16, image_size=8)
    loader = GroupedLoader(source, DATA, steps=6, group=2)
    loader.set_position(0, 6)
    assert (len(loader), list(loader)) == (1, [])
