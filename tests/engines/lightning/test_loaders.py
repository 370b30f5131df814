from __future__ import annotations

import numpy as np
import pytest
import torch

from mlstack.config import AugmentConfig, DataConfig
from mlstack.datasets import Batch, load_dataset
from mlstack.datasets.loader import BatchLoader
from mlstack.engines.lightning.loaders import GroupedLoader

pytestmark = pytest.mark.framework

DATA = DataConfig(name="few_digits", target="few_digits:load")


def source() -> BatchLoader:
    train = load_dataset(DATA).splits["train"]
    return BatchLoader(train, batch_size=16, image_size=8, shuffle=True, augment=AugmentConfig(crop=1, flip=0.5))


@pytest.mark.parametrize(("group", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (8, [5])])
def test_batches_come_in_lists_of_up_to_a_group(group: int, sizes: list[int]) -> None:
    loader = GroupedLoader(source(), DATA, steps=5, group=group)
    assert len(loader) == len(sizes)
    assert [len(batches) for batches in loader] == sizes


def test_a_batch_is_the_sources_own_as_tensors() -> None:
    batches = source()
    loader = GroupedLoader(batches, DATA, steps=6)
    loader.set_position(3)
    for step, [(images, labels)] in enumerate(loader):
        expected = batches.batch(3, step)
        assert images.dtype == torch.uint8
        np.testing.assert_array_equal(images.numpy(), expected.images)
        assert labels.tolist() == expected.labels.tolist()


def test_an_epoch_can_begin_at_a_later_step() -> None:
    batches = source()
    loader = GroupedLoader(batches, DATA, steps=6, group=2)
    loader.set_position(3, 2)
    assert len(loader) == 2
    shown = [images for group in loader for images, _ in group]
    for step, images in zip(range(2, 6), shown, strict=True):
        np.testing.assert_array_equal(images.numpy(), batches.batch(3, step).images)


def test_an_epoch_of_which_nothing_is_left_is_one_empty_turn() -> None:
    loader = GroupedLoader(source(), DATA, steps=6, group=2)
    loader.set_position(0, 6)
    assert (len(loader), list(loader)) == (1, [[]])


def test_workers_prepare_the_same_batches_in_every_epoch() -> None:
    here = GroupedLoader(source(), DATA, steps=6)
    data = DataConfig(num_workers=2, prefetch_factor=1)
    there = GroupedLoader(source(), data, steps=6)
    for epoch in (0, 1):
        for loader in (here, there):
            loader.set_position(epoch)
        for [(one, _)], [(other, _)] in zip(here, there, strict=True):
            assert one.equal(other)


def test_no_more_workers_than_batches() -> None:
    assert GroupedLoader(source(), DataConfig(num_workers=8), steps=1).loader.num_workers == 1
    assert GroupedLoader(source(), DataConfig(num_workers=8), steps=0).loader.num_workers == 0


class ReadOnly:
    """Batches that view a file which is mapped read-only."""

    def __len__(self) -> int:
        return 1

    def batch(self, epoch: int, step: int) -> Batch:
        images = np.zeros((2, 4, 4, 1), np.uint8)
        images.flags.writeable = False
        return Batch(images, np.arange(2), np.arange(2))


def test_read_only_pictures_are_copied() -> None:
    [[(images, _)]] = GroupedLoader(ReadOnly(), DATA, steps=1)
    images.add_(1)
    assert images.unique().tolist() == [1]
