from __future__ import annotations

import numpy as np
import pytest

from mlstack.config import AugmentConfig
from mlstack.datasets import Split
from mlstack.datasets.base import Labels
from mlstack.datasets.draws import Draws
from mlstack.datasets.images import ArrayImages
from mlstack.datasets.loader import BatchLoader
from mlstack.datasets.mixing import (
    blend_labels,
    cutmix,
    cutmix_boxes,
    kept_shares,
    mixup,
    mixup_weights,
    soft_labels,
    whole_pairs,
)

RANDOM = np.random.default_rng(2)
MIXES = {"mixup": AugmentConfig(mixup=1), "cutmix": AugmentConfig(cutmix=1), "both": AugmentConfig(mixup=1, cutmix=1)}
EVERYTHING = AugmentConfig(alternating_flip=True, crop=2, resized_crop=0.5, erasing=0.5, mixup=0.5, cutmix=0.5)


def make_split(count: int, labels: Labels | None = None, side: int = 12) -> Split:
    pictures = np.random.default_rng(1).integers(0, 256, (count, side, side, 3), np.uint8)
    chosen = np.arange(count) % 7 if labels is None else labels
    return Split(ArrayImages(pictures), chosen, [str(index) for index in range(count)])


def loader(count: int = 50, *, labels: Labels | None = None, **options: object) -> BatchLoader:
    arguments = {"batch_size": 8, "image_size": 12, "seed": 3, "shuffle": True, "augment": EVERYTHING} | options
    return BatchLoader(make_split(count, labels), **arguments)  # type: ignore[arg-type]


def numbers(total: int, part: slice | None = None, step: int = 0) -> Draws:
    return Draws(seed=1, epoch=0, step=step, total=total, part=part or slice(0, total))


def test_mixup_blends_two_pictures_as_worked_out_by_hand() -> None:
    batch = np.array([[[[100, 0]]], [[[200, 255]]], [[[7, 8]]]], np.uint8)  # three pictures of a pixel
    result = mixup(batch, np.array([64], np.uint16))  # a quarter of itself, three quarters of the other
    assert result.reshape(3, 2).tolist() == [[175, 191], [125, 64], [7, 8]]  # 191.25 and 63.75 are rounded


@pytest.mark.parametrize("weight", [0, 1, 77, 128, 200, 255, 256])
def test_mixup_is_the_exact_blend_rounded(weight: int) -> None:
    batch = RANDOM.integers(0, 256, (10, 9, 9, 3), np.uint8)
    batch[0], batch[1], batch[2], batch[3] = 0, 255, 255, 255
    weights = np.full(5, weight, np.uint16)
    result = mixup(batch.copy(), weights)
    share = weight / 256
    exact = batch * share + batch[np.arange(10) ^ 1] * (1 - share)
    assert np.abs(result - exact).max() <= 0.5
    assert np.array_equal(result[0::2].astype(int) + result[1::2], batch[0::2].astype(int) + batch[1::2])


def test_mixup_gives_each_pair_its_own_share_however_the_work_is_cut_up() -> None:
    batch = RANDOM.integers(0, 256, (7, 160, 160, 3), np.uint8)  # a picture is more than a chunk
    whole = mixup(batch.copy(), np.array([256, 0, 128], np.uint16))
    assert np.array_equal(whole[:2], batch[:2])
    assert np.array_equal(whole[2:4], batch[[3, 2]])
    assert np.array_equal(whole[4], (batch[4].astype(int) + batch[5] + 1) // 2)
    assert np.array_equal(whole[6], batch[6])


def test_cutmix_exchanges_a_box_and_keeps_the_rest() -> None:
    batch = RANDOM.integers(0, 256, (5, 6, 6, 3), np.uint8)
    result = cutmix(batch.copy(), np.array([[1, 3, 2, 6], [0, 0, 4, 4]]))
    expected = batch.copy()
    expected[0, 1:3, 2:6], expected[1, 1:3, 2:6] = batch[1, 1:3, 2:6], batch[0, 1:3, 2:6]
    assert np.array_equal(result, expected)


def test_the_share_of_cutmix_is_the_area_that_is_really_kept() -> None:
    boxes = np.array([[1, 3, 2, 6], [0, 0, 4, 4], [0, 6, 0, 6]])
    assert kept_shares(boxes, side=6).tolist() == pytest.approx([1 - 8 / 36, 1, 0])
    boxes = cutmix_boxes(1.0, numbers(2000), side=32)
    batch = np.zeros((2000, 32, 32, 1), np.uint8)
    batch[0::2] = 1
    own = cutmix(batch, boxes)[0::2].mean(axis=(1, 2, 3))
    assert np.array_equal(own.astype(np.float32), kept_shares(boxes, side=32))


def test_boxes_have_the_area_of_the_draw_unless_the_edge_cuts_them() -> None:
    boxes = cutmix_boxes(1.0, numbers(40_000), side=64)
    assert boxes.min() == 0 and boxes.max() == 64
    top, bottom, left, right = boxes.T
    whole = (top > 0) & (bottom < 64) & (left > 0) & (right < 64)
    assert np.array_equal((bottom - top)[whole], (right - left)[whole])
    assert abs((top + bottom)[whole].mean() / 2 - 32) < 1  # centres lie evenly
    halves = cutmix_boxes(1e9, numbers(1000), side=64)  # λ = 1/2: 64 · √½ = 45.3
    assert (halves[:, 1] - halves[:, 0]).max() == 45


@pytest.mark.parametrize(("alpha", "spread"), [(0.1, 0.456), (1.0, 0.289), (10.0, 0.109)])
def test_the_weights_of_mixup_are_beta_distributed(alpha: float, spread: float) -> None:
    shares = mixup_weights(alpha, numbers(40_000)) / 256
    assert abs(shares.mean() - 0.5) < 0.01
    assert abs(shares.std() - spread) < 0.01  # 1 / √(4 (2α + 1))


def test_labels_are_blended_as_worked_out_by_hand() -> None:
    labels = soft_labels(np.array([0, 2, 1, 1, 2]), 3)
    assert labels.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0], [0, 0, 1]]
    blended = blend_labels(labels, np.array([0.75, 0.3], np.float32))
    assert blended.dtype == np.float32
    assert blended.tolist() == [[0.75, 0, 0.25], [0.25, 0, 0.75], [0, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_several_labels_are_blended_one_by_one() -> None:
    labels = soft_labels(np.array([[1, 1, 0], [0, 1, 0]], np.float32), 3)
    assert blend_labels(labels, np.array([0.25], np.float32)).tolist() == [[0.25, 1, 0], [0.75, 1, 0]]


@pytest.mark.parametrize(
    ("part", "wide"),
    [((0, 8), (0, 8)), ((0, 5), (0, 6)), ((5, 9), (4, 10)), ((5, 11), (4, 11)), ((9, 9), (8, 10))],
)
def test_a_part_is_widened_until_no_pair_is_cut(part: tuple[int, int], wide: tuple[int, int]) -> None:
    assert whole_pairs(slice(*part), 11) == slice(*wide)


@pytest.mark.parametrize("world_size", [2, 3, 6])
@pytest.mark.parametrize("count", [48, 50, 25, 29])
@pytest.mark.parametrize("augment", [*MIXES.values(), EVERYTHING])
def test_the_ranks_together_blend_what_one_rank_alone_would(
    augment: AugmentConfig, count: int, world_size: int
) -> None:
    alone = loader(count, batch_size=24, augment=augment)
    ranks = [
        loader(count, batch_size=24 // world_size, rank=rank, world_size=world_size, augment=augment)
        for rank in range(world_size)
    ]
    for step in range(len(alone)):
        whole, parts = alone.batch(1, step), [rank.batch(1, step) for rank in ranks]
        for name in ("images", "labels", "indices"):
            assert np.array_equal(getattr(whole, name), np.concatenate([getattr(part, name) for part in parts]))


def test_a_blended_batch_is_the_same_in_any_order() -> None:
    first, second = loader(), loader()
    forwards = [first.batch(epoch, step) for epoch in (0, 1) for step in range(len(first))]
    backwards = [second.batch(epoch, step) for epoch in (1, 0) for step in reversed(range(len(second)))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert np.array_equal(one.images, other.images) and np.array_equal(one.labels, other.labels)


@pytest.mark.parametrize("name", MIXES)
def test_each_blended_label_is_a_distribution_over_its_own_class_and_its_neighbours(name: str) -> None:
    mixed = loader(51, augment=MIXES[name])
    for step in range(len(mixed)):
        batch = mixed.batch(0, step)
        classes = mixed.split.labels[batch.indices]
        neighbours = np.minimum(np.arange(len(classes)) ^ 1, len(classes) - 1)
        assert batch.labels.dtype == np.float32 and batch.labels.shape == (len(classes), 7)
        np.testing.assert_allclose(batch.labels.sum(axis=1), 1, rtol=1e-6)
        for label, own, other in zip(batch.labels, classes, classes[neighbours], strict=True):
            assert set(np.flatnonzero(label)) <= {own, other}


def test_pictures_are_blended_with_the_weight_of_their_labels() -> None:
    count = 40
    pictures = np.repeat(np.arange(count) * 6, 64).reshape(count, 8, 8, 1).astype(np.uint8)
    split = Split(ArrayImages(pictures), np.arange(count), [""] * count)
    for augment, error in ((MIXES["mixup"], 0.5), (MIXES["cutmix"], 1e-4)):
        batch = BatchLoader(split, batch_size=20, image_size=8, shuffle=True, augment=augment).batch(0, 1)
        expected = batch.labels @ (np.arange(count, dtype=np.float32) * 6)
        assert np.abs(batch.images.mean(axis=(1, 2, 3)) - expected).max() <= error


def test_both_ways_take_turns_by_a_draw() -> None:
    count = 64 * 60
    pictures = np.repeat(np.arange(count) % 2 * 255, 16).reshape(count, 4, 4, 1).astype(np.uint8)
    split = Split(ArrayImages(pictures), np.zeros(count, np.int64), [""] * count)
    both = BatchLoader(split, batch_size=64, image_size=4, shuffle=True, augment=MIXES["both"])
    pasted = [set(np.unique(both.batch(0, step).images)) == {0, 255} for step in range(60)]
    assert 15 < sum(pasted) < 45


def test_the_labels_have_as_many_classes_as_the_loader_is_told() -> None:
    assert loader(classes=9).batch(0, 0).labels.shape == (8, 9)


def test_labels_that_are_vectors_stay_as_wide_as_they_are() -> None:
    labels = RANDOM.integers(0, 2, (50, 4)).astype(np.float32)
    mixed = loader(labels=labels, augment=MIXES["mixup"]).batch(0, 0)
    own, other = labels[mixed.indices], labels[mixed.indices[np.arange(8) ^ 1]]
    assert np.all((mixed.labels >= np.minimum(own, other)) & (mixed.labels <= np.maximum(own, other)))


def test_blending_leaves_the_data_set_and_the_draws_of_the_others_alone() -> None:
    mixed, plain = loader(augment=AugmentConfig(crop=2, mixup=1)), loader(augment=AugmentConfig(crop=2))
    before = mixed.split.images.read(np.arange(50))
    blended, shifted = mixed.batch(0, 0).images, plain.batch(0, 0).images
    assert np.array_equal(blended.astype(int)[0::2] + blended[1::2], shifted.astype(int)[0::2] + shifted[1::2])
    assert np.array_equal(mixed.split.images.read(np.arange(50)), before)
    idle = loader(augment=AugmentConfig(mixup=1))
    idle.batch(0, 0)
    assert np.array_equal(idle.split.images.read(np.arange(50)), before)
