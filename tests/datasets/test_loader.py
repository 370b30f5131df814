from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from forking import in_a_forked_process

from mlstack.config import AugmentConfig
from mlstack.datasets import Split
from mlstack.datasets.images import ArrayImages
from mlstack.datasets.loader import BatchLoader
from mlstack.errors import ConfigError

EVERYTHING = AugmentConfig(flip=0.5, crop=2, resized_crop=0.5, rotation=20, color_jitter=0.4, erasing=0.5)


def make_split(count: int, side: int = 12, channels: int = 3) -> Split:
    pictures = np.random.default_rng(1).integers(0, 256, (count, side, side, channels), np.uint8)
    return Split(ArrayImages(pictures), np.arange(count) % 7, [str(index) for index in range(count)])


def loader(count: int = 50, **options: object) -> BatchLoader:
    arguments = {"batch_size": 8, "image_size": 12, "seed": 3, "shuffle": True, "augment": EVERYTHING} | options
    return BatchLoader(make_split(count), **arguments)  # type: ignore[arg-type]


def test_a_batch_is_the_same_in_any_order_and_in_another_loader() -> None:
    first, second = loader(), loader()
    forwards = [first.batch(epoch, step) for epoch in (0, 1) for step in range(len(first))]
    backwards = [second.batch(epoch, step) for epoch in (1, 0) for step in reversed(range(len(second)))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert np.array_equal(one.images, other.images)
        assert np.array_equal(one.labels, other.labels)
        assert np.array_equal(one.indices, other.indices)


@pytest.mark.parametrize("world_size", [2, 3, 6])
@pytest.mark.parametrize("count", [48, 50, 24, 25])
def test_the_ranks_together_see_what_one_rank_alone_would_see(world_size: int, count: int) -> None:
    alone = loader(count, batch_size=24)
    ranks = [loader(count, batch_size=24 // world_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert {len(rank) for rank in ranks} == {len(alone)}
    for step in range(len(alone)):
        whole, parts = alone.batch(1, step), [rank.batch(1, step) for rank in ranks]
        assert np.array_equal(whole.images, np.concatenate([part.images for part in parts]))
        assert np.array_equal(whole.indices, np.concatenate([part.indices for part in parts]))


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("count", [3, 8, 9, 17, 25, 64])
def test_each_picture_comes_exactly_once_an_epoch(count: int, world_size: int, batch_size: int) -> None:
    ranks = [
        loader(count, batch_size=batch_size, rank=rank, world_size=world_size, augment=None)
        for rank in range(world_size)
    ]
    batches = [rank.batch(0, step) for rank in ranks for step in range(len(rank))]
    assert sorted(np.concatenate([batch.indices for batch in batches])) == list(range(count))
    least = 1 if batch_size == 1 or count < 2 * world_size else 2
    assert min(len(batch.labels) for batch in batches) >= least


def test_the_last_two_batches_share_what_is_left_evenly() -> None:
    sizes = [len(loader(33).batch(0, step).labels) for step in range(len(loader(33)))]
    assert sizes == [8, 8, 8, 5, 4]


@pytest.mark.parametrize(("count", "world_size"), [(33, 1), (50, 3), (25, 2), (5, 2)])
def test_the_size_of_a_global_batch_is_the_sum_over_its_ranks(count: int, world_size: int) -> None:
    ranks = [loader(count, augment=None, rank=rank, world_size=world_size) for rank in range(world_size)]
    for step in range(len(ranks[0])):
        together = sum(len(rank.batch(0, step).labels) for rank in ranks)
        assert {rank.global_size(step) for rank in ranks} == {together}
    with pytest.raises(IndexError):
        ranks[0].global_size(len(ranks[0]))


def test_alternating_flip_shows_both_sides_of_every_picture_in_two_epochs() -> None:
    mirrored = loader(augment=AugmentConfig(alternating_flip=True))
    turned: list[np.ndarray] = []
    for epoch in (0, 1):
        sides = np.zeros(50, bool)
        for step in range(len(mirrored)):
            batch = mirrored.batch(epoch, step)
            plain = mirrored.split.images.read(batch.indices)
            sides[batch.indices] = np.any(batch.images != plain, axis=(1, 2, 3))
            assert np.array_equal(
                np.where(sides[batch.indices, None, None, None], plain[:, :, ::-1], plain), batch.images
            )
        turned.append(sides)
    assert np.array_equal(turned[0], ~turned[1])
    assert 10 < turned[0].sum() < 40


def test_numbers_as_labels_pass_through() -> None:
    prices = np.linspace(0, 1, 40, dtype=np.float32).reshape(20, 2)
    split = Split(make_split(20).images, prices, [""] * 20)
    batch = BatchLoader(split, batch_size=8, image_size=12, shuffle=True, augment=EVERYTHING).batch(0, 0)
    assert np.array_equal(batch.labels, prices[batch.indices]) and batch.labels.dtype == np.float32


def test_without_shuffle_the_order_is_that_of_the_split() -> None:
    plain = loader(20, shuffle=False, augment=None)
    indices = np.concatenate([plain.batch(5, step).indices for step in range(len(plain))])
    assert list(indices) == list(range(20))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [tuple(loader(seed=seed).batch(epoch, 0).indices) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4


def test_labels_belong_to_the_pictures() -> None:
    shuffled = loader(augment=None)
    batch = shuffled.batch(0, 0)
    pictures = shuffled.split.images.read(batch.indices)
    assert np.array_equal(batch.images, pictures)
    assert np.array_equal(batch.labels, shuffled.split.labels[batch.indices])


def test_with_every_strength_at_zero_training_sees_the_evaluation_picture() -> None:
    options = {"shuffle": False, "image_size": 8}
    plain, idle = loader(augment=None, **options), loader(augment=AugmentConfig(), **options)
    assert np.array_equal(plain.batch(0, 0).images, idle.batch(0, 0).images)
    assert np.array_equal(plain.batch(0, 0).images, plain.split.images.read(np.arange(8))[:, 2:10, 2:10])


def test_batches_are_contiguous_and_their_own() -> None:
    for augment in (None, AugmentConfig(), EVERYTHING, AugmentConfig(flip=1)):
        one = loader(augment=augment, image_size=10)
        before = one.batch(0, 0).images.copy()
        one.batch(0, 0).images[:] = 0
        batch = one.batch(0, 0)
        assert batch.images.flags.c_contiguous and batch.images.flags.writeable
        assert np.array_equal(batch.images, before)


def test_switching_one_augmentation_on_leaves_the_draws_of_the_others_alone() -> None:
    shifted = loader(augment=AugmentConfig(crop=2)).batch(0, 0).images
    both = loader(augment=AugmentConfig(crop=2, flip=1)).batch(0, 0).images
    assert np.array_equal(both, shifted[:, :, ::-1])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_process_makes_the_same_batch(method: str) -> None:
    here = loader()
    if method == "fork":
        there = in_a_forked_process(here.batch, 2, 1)
    else:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as executor:
            there = executor.submit(here.batch, 2, 1).result()
    assert np.array_equal(here.batch(2, 1).images, there.images)


def test_the_order_of_an_epoch_does_not_travel_to_workers() -> None:
    large = BatchLoader(make_split(5000, side=1), batch_size=8, image_size=1, shuffle=True)
    before = len(pickle.dumps(large))
    large.batch(0, 0)
    assert len(pickle.dumps(large)) == before


@pytest.mark.parametrize(
    ("build", "key"),
    [
        (lambda: loader(image_size=13), "data.image_size"),
        (lambda: loader(2, world_size=3), "trainer.devices"),
        (lambda: loader(rank=2, world_size=2), ""),
        (lambda: loader(batch_size=0), ""),
    ],
)
def test_sizes_that_do_not_fit_are_refused(build: Callable[[], BatchLoader], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build()
    assert caught.value.key == key


def test_a_step_beyond_the_epoch_is_an_index_error() -> None:
    with pytest.raises(IndexError):
        loader().batch(0, 99)
