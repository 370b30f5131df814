from __future__ import annotations

import numpy as np
import pytest

from mlstack.config import AugmentConfig
from mlstack.datasets import Split
from mlstack.datasets.balance import balanced_order
from mlstack.datasets.images import ArrayImages
from mlstack.datasets.loader import BatchLoader
from mlstack.errors import ConfigError

UNEVEN = np.repeat([0, 1, 2, 4], [60, 5, 1, 37])  # 103 images; class 3 has none


def loader(labels: np.ndarray = UNEVEN, **options: object) -> BatchLoader:
    pictures = np.random.default_rng(1).integers(0, 256, (len(labels), 4, 4, 1), np.uint8)
    split = Split(ArrayImages(pictures), labels, [str(index) for index in range(len(labels))])
    arguments = {"batch_size": 8, "image_size": 4, "seed": 3, "shuffle": True, "balance": True} | options
    return BatchLoader(split, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("epoch", range(5))
def test_every_class_comes_equally_often_up_to_one(epoch: int) -> None:
    order = balanced_order(UNEVEN, seed=0, epoch=epoch)
    counts = np.bincount(UNEVEN[order], minlength=5)
    assert len(order) == 103
    assert sorted(counts[[0, 1, 2, 4]]) == [25, 26, 26, 26] and counts[3] == 0


def test_the_classes_take_turns_at_what_can_not_be_divided() -> None:
    orders = np.concatenate([balanced_order(UNEVEN, seed=0, epoch=epoch) for epoch in range(4)])
    assert list(np.bincount(UNEVEN[orders], minlength=5)) == [103, 103, 103, 0, 103]


@pytest.mark.parametrize("epochs", [1, 2, 3, 7])
def test_the_images_of_a_class_come_evenly_over_the_ends_of_epochs_too(epochs: int) -> None:
    orders = np.concatenate([balanced_order(UNEVEN, seed=5, epoch=epoch) for epoch in range(epochs)])
    times = np.bincount(orders, minlength=len(UNEVEN))
    for label in (0, 1, 2, 4):
        members = times[label == UNEVEN]
        assert members.max() - members.min() <= 1


def test_a_large_class_is_seen_whole_before_anything_of_it_repeats() -> None:
    labels = np.repeat([0, 1], [9000, 1000])
    first, second = (balanced_order(labels, seed=0, epoch=epoch) for epoch in (0, 1))
    large = [order[labels[order] == 0] for order in (first, second)]
    assert len(set(large[0])) == 5000 and len(set(np.concatenate(large))) == 9000
    assert set(np.bincount(first, minlength=10_000)[9000:]) == {5}
    ninth = balanced_order(labels, seed=0, epoch=9)  # 9 · 5000 = 5 · 9000: a new pass begins, in another order
    assert set(ninth[labels[ninth] == 0]) != set(large[0])


def test_seeds_and_epochs_have_orders_of_their_own_and_nothing_else_has_a_say() -> None:
    orders = {(seed, epoch): balanced_order(UNEVEN, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in (1, 0)}
    assert len({order.tobytes() for order in orders.values()}) == 4
    for (seed, epoch), order in orders.items():
        assert np.array_equal(order, balanced_order(UNEVEN, seed=seed, epoch=epoch))


def test_classes_are_mixed_within_an_epoch() -> None:
    labels = np.repeat([0, 1], [900, 100])
    firsts = labels[balanced_order(labels, seed=0, epoch=0)[:200]]
    assert 70 < firsts.sum() < 130


def test_the_loader_draws_a_balanced_epoch_of_the_same_length() -> None:
    balanced, plain = loader(), loader(balance=False)
    assert len(balanced) == len(plain)
    labels = np.concatenate([balanced.batch(2, step).labels for step in range(len(balanced))])
    assert sorted(np.bincount(labels)[[0, 1, 2, 4]]) == [25, 26, 26, 26]
    assert np.array_equal(balanced.batch(1, 3).indices, loader().batch(1, 3).indices)


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_ranks_together_draw_what_one_alone_would(world_size: int) -> None:
    augment = AugmentConfig(mixup=1, alternating_flip=True)
    alone = loader(batch_size=12, augment=augment)
    ranks = [
        loader(batch_size=12 // world_size, rank=rank, world_size=world_size, augment=augment)
        for rank in range(world_size)
    ]
    for step in range(len(alone)):
        whole, parts = alone.batch(1, step), [rank.batch(1, step) for rank in ranks]
        assert np.array_equal(whole.images, np.concatenate([part.images for part in parts]))
        assert np.array_equal(whole.labels, np.concatenate([part.labels for part in parts]))


def test_what_has_no_classes_or_no_order_can_not_be_balanced() -> None:
    for build in (lambda: loader(np.zeros((20, 2), np.float32)), lambda: loader(shuffle=False)):
        with pytest.raises(ConfigError) as caught:
            build()
        assert caught.value.key == "data.balance"
