from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mlstack.datasets.augment import (
    alternating,
    centre_crop,
    color_jitter,
    crop_boxes,
    erase,
    erased_box,
    flip,
    resized_crop,
    shifted_crop,
)
from mlstack.datasets.images import ArrayImages
from mlstack.datasets.rotate import rotate

RANDOM = np.random.default_rng(5)
CHANNELS = pytest.mark.parametrize("channels", [1, 3])


def pictures(channels: int, *, side: int = 16, count: int = 20, smooth: bool = False) -> np.ndarray:
    if not smooth:
        return RANDOM.integers(0, 256, (count, side, side, channels), np.uint8)
    wave = np.sin(np.arange(side)[:, None] / 3 + np.arange(side) / 4)[None, :, :, None]
    return (127 + 100 * wave * RANDOM.uniform(0.5, 1, (count, 1, 1, channels))).astype(np.uint8)


@CHANNELS
def test_centre_crop_takes_the_middle(channels: int) -> None:
    batch = pictures(channels)
    assert np.array_equal(centre_crop(batch, 10), batch[:, 3:13, 3:13])
    assert np.array_equal(centre_crop(batch, 16), batch)


@CHANNELS
@pytest.mark.parametrize(("size", "padding"), [(16, 4), (12, 0), (12, 3), (16, 1)])
def test_shifted_crop_is_a_window_of_the_padded_picture(channels: int, size: int, padding: int) -> None:
    batch, uniform = pictures(channels), RANDOM.random((20, 2))
    uniform[0], uniform[1] = 0, 1 - 1e-12  # the first and the last place
    result = shifted_crop(batch, uniform, size=size, padding=padding)
    for picture, numbers, cut in zip(batch, uniform, result, strict=True):
        padded = np.pad(picture, ((padding, padding), (padding, padding), (0, 0)))
        top, left = (int(number * (16 + 2 * padding - size + 1)) for number in numbers)
        assert np.array_equal(cut, padded[top : top + size, left : left + size])


@CHANNELS
def test_flip_mirrors_the_chosen_pictures_only(channels: int) -> None:
    batch, chosen = pictures(channels), RANDOM.random(20) < 0.5
    result = flip(batch.copy(), chosen)
    for before, after, mirrored in zip(batch, result, chosen, strict=True):
        assert np.array_equal(after, before[:, ::-1] if mirrored else before)


@CHANNELS
@pytest.mark.parametrize("size", [16, 24, 12])
def test_resized_crop_is_bilinear_sampling_of_its_box(channels: int, size: int) -> None:
    batch, uniform = pictures(channels), RANDOM.random((20, 4))
    result = resized_crop(ArrayImages(batch), np.arange(20), uniform, size=size, least=0.3)
    for picture, box, cut in zip(batch, crop_boxes(uniform, side=16, least=0.3), result, strict=True):
        left, top, width, height = box
        rows = np.clip((np.arange(size) + 0.5) * height / size + top - 0.5, 0, 15)
        columns = np.clip((np.arange(size) + 0.5) * width / size + left - 0.5, 0, 15)
        assert np.abs(sample(picture, rows[:, None] + 0 * columns, columns + 0 * rows[:, None]) - cut).max() < 2.5


def test_boxes_keep_their_area_shape_and_place() -> None:
    boxes = crop_boxes(RANDOM.random((2000, 4)), side=100, least=0.25)
    left, top, width, height = boxes.T
    assert left.min() >= 0 and top.min() >= 0
    assert (left + width).max() <= 100 + 1e-9 and (top + height).max() <= 100 + 1e-9
    assert 0.2 < (width * height).min() / 1e4 < 0.3 and (width * height).max() / 1e4 > 0.95
    assert 0.74 < (width / height).min() < 0.8 and 1.28 < (width / height).max() < 1.34


def test_a_crop_of_the_whole_picture_is_the_picture() -> None:
    batch = pictures(3)
    whole = np.full((20, 4), [1.0, 0.5, 0.0, 0.0])
    assert np.array_equal(resized_crop(ArrayImages(batch), np.arange(20), whole, size=16, least=0.5), batch)


@CHANNELS
def test_rotation_is_bilinear_sampling_about_the_centre(channels: int) -> None:
    batch, degrees = pictures(channels), RANDOM.uniform(-180, 180, 20)
    result = rotate(batch, degrees)
    for picture, angle, turned in zip(batch, np.deg2rad(degrees), result, strict=True):
        rows, columns = np.mgrid[:16, :16] - 7.5
        bordered = np.pad(picture, ((1, 2), (1, 2), (0, 0)))
        source_rows = np.clip(np.cos(angle) * rows + np.sin(angle) * columns + 8.5, 0, 17)
        source_columns = np.clip(np.cos(angle) * columns - np.sin(angle) * rows + 8.5, 0, 17)
        assert np.abs(sample(bordered, source_rows, source_columns) - turned).max() < 3


@pytest.mark.parametrize(("degrees", "turns"), [(0, 0), (90, 1), (180, 2), (-90, 3)])
def test_quarter_turns_are_exact_and_anticlockwise(degrees: float, turns: int) -> None:
    batch = pictures(3)
    result = rotate(batch, np.full(20, float(degrees)))
    assert np.array_equal(result, np.rot90(batch, turns, axes=(1, 2)))


def test_rotation_turns_the_way_pillow_does() -> None:
    picture = pictures(3, side=32, count=1, smooth=True)
    ours = rotate(picture, np.array([30.0]))[0, 8:24, 8:24].astype(int)
    theirs = np.asarray(Image.fromarray(picture[0]).rotate(30, Image.Resampling.BILINEAR))[8:24, 8:24].astype(int)
    assert np.abs(ours - theirs).max() <= 3


@CHANNELS
def test_color_jitter_is_brightness_then_contrast_then_saturation(channels: int) -> None:
    batch, uniform = pictures(channels), RANDOM.random((20, 3))
    result = color_jitter(batch, uniform, strength=0.3)
    luma = np.array([0.299, 0.587, 0.114]) if channels == 3 else np.ones(1)
    for picture, numbers, jittered in zip(batch, uniform, result, strict=True):
        brightness, contrast, saturation = 1 + (numbers * 2 - 1) * 0.3
        expected = picture * brightness
        expected = expected * contrast + (expected @ luma).mean() * (1 - contrast)
        expected = expected * saturation + (expected @ luma)[..., None] * (1 - saturation)
        assert np.abs(np.clip(expected, 0, 255) - jittered).max() <= 0.6


@CHANNELS
def test_erasing_covers_one_rectangle_with_the_mean_colour(channels: int) -> None:
    batch, uniform = pictures(channels), RANDOM.random((20, 5))
    result = erase(batch.copy(), uniform, chance=0.5)
    for before, after, numbers in zip(batch, result, uniform, strict=True):
        expected = before.copy()
        if numbers[0] < 0.5:
            top, left, height, width = erased_box(numbers, side=16)
            assert top + height <= 16 and left + width <= 16
            expected[top : top + height, left : left + width] = np.round(before.mean(axis=(0, 1)))
        assert np.array_equal(after, expected)


@pytest.mark.parametrize(
    ("uniform", "height", "width"),
    [
        ((0.0, 0.5), 141, 141),  # a fiftieth of the area, a square: √0.02
        ((1.0, 0.5), 577, 577),  # a third of it: √(1/3)
        ((0.0, 0.0), 77, 258),  # height to width 0.3
        ((0.0, 1.0), 258, 77),
        ((0.5, 0.5), 420, 420),
        ((1.0, 1.0), 1000, 316),  # would be higher than the picture
        ((1.0, 0.0), 316, 1000),
    ],
)
def test_an_erased_rectangle_has_the_area_and_shape_of_the_paper(
    uniform: tuple[float, float], height: int, width: int
) -> None:
    first = erased_box(np.array([0, *uniform, 0, 0]), side=1000)
    last = erased_box(np.array([0, *uniform, 1 - 1e-12, 1 - 1e-12]), side=1000)
    assert first == (0, 0, height, width)
    assert last == (1000 - height, 1000 - width, height, width)


def test_an_erased_rectangle_covers_a_pixel_at_least() -> None:
    assert erased_box(np.zeros(5), side=2) == (0, 0, 1, 1)


def sample(picture: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Bilinear sampling in floating point, one picture: the reference."""
    top, left = rows.astype(int), columns.astype(int)
    bottom, right = np.minimum(top + 1, picture.shape[0] - 1), np.minimum(left + 1, picture.shape[1] - 1)
    down, across = (rows - top)[..., None], (columns - left)[..., None]
    upper = picture[top, left] * (1 - across) + picture[top, right] * across
    lower = picture[bottom, left] * (1 - across) + picture[bottom, right] * across
    return upper * (1 - down) + lower * down


def test_alternating_flip_mirrors_every_picture_in_every_second_epoch() -> None:
    indices = np.arange(10_000)
    epochs = np.array([alternating(7, epoch, indices) for epoch in range(4)])
    assert abs(epochs[0].mean() - 0.5) < 0.02
    assert np.array_equal(epochs[0], ~epochs[1])
    assert np.array_equal(epochs[0], epochs[2]) and np.array_equal(epochs[1], epochs[3])


def test_alternating_flip_depends_on_seed_and_index_alone() -> None:
    some = np.array([4_000_000_000, 3, 3, 17, 2])
    whole = alternating(7, 0, np.arange(100))
    assert np.array_equal(alternating(7, 0, some)[1:], whole[some[1:]])
    assert not np.array_equal(whole, alternating(8, 0, np.arange(100)))
    neighbours = alternating(7, 0, np.arange(10_001))
    assert abs((neighbours[1:] == neighbours[:-1]).mean() - 0.5) < 0.02
