from __future__ import annotations

import pytest

from mlstack.config import DataConfig
from mlstack.datasets import load_dataset
from mlstack.datasets.loader import BatchLoader
from mlstack.engines.lightning.loaders import GroupedLoader

pytestmark = pytest.mark.framework

DATA = DataConfig(name="few_digits", target="few_digits:load")


def test_an_epoch_of_which_nothing_is_left_is_one_empty_turn() -> None:
    source = BatchLoader(load_dataset(DATA).splits["train"], batch_size=16, image_size=8)
    loader = GroupedLoader(source, DATA, steps=6, group=2)
    loader.set_position(0, 6)
    assert (len(loader), list(loader)) == (1, [[]])
