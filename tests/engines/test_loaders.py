from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlstack.config import AugmentConfig, DataConfig
from mlstack.datasets import Batch, load_dataset
from mlstack.datasets.loader import BatchLoader
from mlstack.engines import create_engine
from mlstack.engines.batches import read_batch
from mlstack.errors import DataError

pytestmark = pytest.mark.framework

DATA = DataConfig(name="few_digits", target="few_digits:load")
WITH_WORKERS = DataConfig(name="few_digits", target="few_digits:load", num_workers=2, prefetch_factor=1)


def source(target: str = "few_digits:load") -> BatchLoader:
    train = load_dataset(DataConfig(name="few_digits", target=target)).splits["train"]
    return BatchLoader(train, batch_size=16, image_size=8, shuffle=True, augment=AugmentConfig(crop=1, flip=0.5))


@pytest.fixture
def loader(engine: str) -> Callable[..., Any]:
    """The engine's own GroupedLoader."""
    create_engine(engine)  # it imports its framework as that has to be imported
    made: Callable[..., Any] = importlib.import_module(f"mlstack.engines.{engine}.loaders").GroupedLoader
    return made


@pytest.mark.parametrize(("group", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (8, [5])])
def test_batches_come_in_lists_of_up_to_a_group(group: int, sizes: list[int], loader: Callable[..., Any]) -> None:
    batches = loader(source(), DATA, steps=5, group=group)
    assert len(batches) == len(sizes)
    assert [len(group) for group in batches] == sizes


def test_a_batch_is_the_sources_own_as_tensors(loader: Callable[..., Any], training: Any) -> None:
    batches = source()
    tensors = loader(batches, DATA, steps=6)
    tensors.set_position(3)
    for step, [(images, labels)] in enumerate(tensors):
        expected = batches.batch(3, step)
        np.testing.assert_array_equal(training.pixels(images), expected.images)
        assert labels.tolist() == expected.labels.tolist()


def test_an_epoch_can_begin_at_a_later_step(loader: Callable[..., Any], training: Any) -> None:
    batches = source()
    tensors = loader(batches, DATA, steps=6, group=2)
    tensors.set_position(3, 2)
    assert len(tensors) == 2
    shown = [images for group in tensors for images, _ in group]
    for step, images in zip(range(2, 6), shown, strict=True):
        np.testing.assert_array_equal(training.pixels(images), batches.batch(3, step).images)


def test_workers_prepare_the_same_batches_in_every_epoch(loader: Callable[..., Any], training: Any) -> None:
    here, there = loader(source(), DATA, steps=6), loader(source(), WITH_WORKERS, steps=6)
    for epoch in (0, 1):
        for tensors in (here, there):
            tensors.set_position(epoch)
        for [(one, _)], [(other, _)] in zip(here, there, strict=True):
            np.testing.assert_array_equal(training.pixels(one), training.pixels(other))
    there.close()


@pytest.mark.parametrize("data", [DATA, WITH_WORKERS])
def test_a_picture_that_cannot_be_read_is_one_message(data: DataConfig, loader: Callable[..., Any]) -> None:
    tensors = loader(source("few_digits:unreadable"), data, steps=6)
    with pytest.raises(DataError, match="stopped on purpose"):
        list(tensors)
    tensors.close()


@pytest.mark.parametrize("persistent", [False, True])
def test_the_workers_of_an_epoch_that_is_broken_off_are_ended(persistent: bool, loader: Callable[..., Any]) -> None:
    tensors = loader(source(), replace(WITH_WORKERS, persistent_workers=persistent), steps=6)
    next(iter(tensors))
    tensors.close()
    assert multiprocessing.active_children() == []


def test_no_more_workers_than_batches(loader: Callable[..., Any]) -> None:
    for steps in (1, 0):
        assert getattr(loader(source(), DataConfig(num_workers=8), steps=steps).loader, "num_workers", 0) == steps


class ReadOnly:
    """Batches that view a file which is mapped read-only."""

    def __len__(self) -> int:
        return 1

    def batch(self, epoch: int, step: int) -> Batch:
        images = np.zeros((2, 4, 4, 1), np.uint8)
        images.flags.writeable = False
        return Batch(images, np.arange(2), np.arange(2))


def test_read_only_pictures_are_copied(loader: Callable[..., Any], training: Any) -> None:
    read = read_batch(ReadOnly(), 0, 0)
    assert not isinstance(read, Exception)
    assert read[0].flags.writeable
    [[(images, _)]] = loader(ReadOnly(), DATA, steps=1)
    assert training.pixels(images).tolist() == read[0].tolist()
