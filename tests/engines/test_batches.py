from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from mlstack.config import Config, DataConfig, TrainerConfig
from mlstack.datasets import Dataset
from mlstack.datasets.build import dataset_from_arrays
from mlstack.datasets.loader import BatchLoader
from mlstack.engines.batches import GroupedBatches, class_counts, plan_of, whitening_images
from mlstack.errors import DataError, MLStackError


class Numbered(GroupedBatches[int]):
    """Batches that are their own step, but for one that could not be read."""

    broken = -1

    def _prepared(self) -> Iterator[int | MLStackError]:
        return (DataError("broken") if step == self.broken else step for _, step in self.numbers)

    def close(self) -> None:
        pass


def dataset(count: int, task: str = "classification") -> Dataset:
    """Pictures of one pixel, which is their place; labels 0, 1, 1."""
    pixels = np.arange(count).astype(np.uint8).reshape(-1, 1, 1, 1)
    labels: np.ndarray = np.resize([0, 1, 1], count).astype(np.int64)
    if task != "classification":
        labels = np.resize([[1, 0], [1, 1], [0, 0]], (count, 2)).astype(np.float32)
    parts = {"train": (pixels, labels), "val": (pixels, labels), "test": (pixels, labels)}
    return dataset_from_arrays(DataConfig(task=task), parts, name="own", classes=["a", "b"], task=task)


@pytest.mark.parametrize(
    ("start", "group", "groups"),
    [
        (0, 1, [[0], [1], [2], [3], [4]]),
        (0, 2, [[0, 1], [2, 3], [4]]),
        (3, 2, [[3, 4]]),
        (1, 4, [[1, 2, 3, 4]]),
        (5, 2, []),
    ],
)
def test_batches_come_in_groups_from_the_step_where_an_epoch_begins(
    start: int, group: int, groups: list[list[int]]
) -> None:
    batches = Numbered(steps=5, group=group)
    batches.set_position(7, start)
    assert list(batches) == groups
    assert len(batches) == max(1, len(groups))
    assert list(batches.numbers) == [(7, step) for step in range(start, 5)]


def test_what_a_worker_could_not_read_is_raised_where_it_is_asked_for() -> None:
    batches = Numbered(steps=4, group=1)
    batches.broken = 2
    found = iter(batches)
    assert [next(found), next(found)] == [[0], [1]]
    with pytest.raises(DataError, match="broken"):
        next(found)


@pytest.mark.parametrize(("count", "read"), [(7, 7), (5000, 5000), (5003, 5000)])
def test_whitening_sees_five_thousand_pictures_from_the_first_to_the_last(count: int, read: int) -> None:
    seen = whitening_images(dataset(count)).ravel()
    assert len(seen) == read
    assert (seen[0], seen[-1]) == (0, (count - 1) % 256)
    steps = np.diff(seen.astype(np.int64)) % 256
    assert set(steps.tolist()) <= {1, 2} and (steps == 2).sum() == count - read


def test_images_are_counted_by_class_or_by_label_and_of_a_regression_not_at_all() -> None:
    assert class_counts(dataset(7)) == [3, 4]
    assert class_counts(dataset(4, "multilabel")) == [3, 1]
    assert class_counts(dataset(4, "regression")) is None


def test_a_plan_counts_the_pictures_of_its_batches_on_all_ranks() -> None:
    source = BatchLoader(dataset(8).splits["train"], batch_size=2, image_size=1, rank=1, world_size=2)
    plan = plan_of(Config(trainer=TrainerConfig(max_epochs=3)), source, batches=2)
    assert (plan.global_sizes, plan.images, plan.total_steps) == ((4, 4), 8, 6)
