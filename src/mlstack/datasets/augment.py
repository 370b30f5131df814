"""Random changes to whole batches of uint8 pictures; each picture has its own draw.

The order is resized crop, rotation, crop, flip, colour jitter, erasing; blending comes after (`mixing.py`). With every
strength at 0 the result is exactly what evaluation sees: the centre.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlstack.config.data import AugmentConfig
from mlstack.datasets import draws
from mlstack.datasets.base import Images
from mlstack.datasets.draws import Draws
from mlstack.datasets.images import read_windows
from mlstack.datasets.resample import bilinear, shrink
from mlstack.datasets.rotate import rotate

Pictures = NDArray[np.uint8]  # [batch, height, width, channel]

ASPECT = (3 / 4, 4 / 3)  # width to height of a resized crop, as in https://arxiv.org/abs/1409.4842
ERASED_AREA = (0.02, 1 / 3)  # share of the picture, as in https://arxiv.org/abs/1708.04896
ERASED_ASPECT = (0.3, 1 / 0.3)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def augment(
    images: Images, indices: NDArray[np.int64], *, size: int, config: AugmentConfig, numbers: Draws
) -> Pictures:
    """Read pictures and apply what `config` asks for.

    Args:
        images: Where they lie, images.side ≥ size.
        indices: int64 [batch], which of them.
        size: Height and width of the result.
        config: Strengths; 0 = off.
        numbers: Where the random numbers come from.

    Returns:
        uint8 [batch, size, size, channel]
    """
    if config.resized_crop:
        uniform = numbers.uniform(draws.RESIZED_CROP, 4)
        pictures = resized_crop(images, indices, uniform, size=size, least=config.resized_crop)
    else:
        pictures = images.read(indices)
    if config.rotation:
        pictures = rotate(pictures, (numbers.uniform(draws.ROTATION, 1)[:, 0] * 2 - 1) * config.rotation)
    if config.crop:
        pictures = shifted_crop(pictures, numbers.uniform(draws.CROP, 2), size=size, padding=config.crop)
    else:
        pictures = centre_crop(pictures, size)
    if config.flip:
        pictures = flip(pictures, numbers.uniform(draws.FLIP, 1)[:, 0] < config.flip)
    if config.alternating_flip:
        pictures = flip(pictures, alternating(numbers.seed, numbers.epoch, indices))
    if config.color_jitter:
        pictures = color_jitter(pictures, numbers.uniform(draws.COLOR_JITTER, 3), strength=config.color_jitter)
    if config.erasing:
        pictures = erase(pictures, numbers.uniform(draws.ERASING, 5), chance=config.erasing)
    return pictures


def centre_crop(pictures: Pictures, size: int) -> Pictures:
    """The middle size × size of each picture: a view."""
    start = (pictures.shape[1] - size) // 2
    return pictures[:, start : start + size, start : start + size]


def shifted_crop(pictures: Pictures, uniform: NDArray[np.float64], *, size: int, padding: int) -> Pictures:
    """Pad each side with black and cut size × size out at a random place.

    Rows are copied as single elements of size · channel bytes: 20 × faster than a pixel at a time through Pillow.

    Args:
        pictures: uint8 [batch, side, side, channel].
        uniform: float64 [batch, 2] in [0, 1): place from the top, place from the left.
        size: Height and width of the result.
        padding: Pixels.
    """
    batch, side, _, channels = pictures.shape
    wide = side + 2 * padding
    padded = np.zeros((batch, wide, wide * channels), np.uint8)
    inner = slice(padding * channels, (padding + side) * channels)
    padded[:, padding : padding + side, inner] = pictures.reshape(batch, side, side * channels)
    places = wide - size + 1
    top, left = (uniform * places).astype(np.intp).T
    row = np.dtype(f"V{size * channels}")
    windows = np.lib.stride_tricks.as_strided(  # [batch, top, left, row of the crop]: overlapping, read only
        padded.reshape(-1)[: row.itemsize].view(row),
        shape=(batch, places, places, size),
        strides=(wide * wide * channels, wide * channels, channels, wide * channels),
        writeable=False,
    )
    cut = np.asarray(windows[np.arange(batch), top, left])  # [batch, row of the crop]
    return np.asarray(cut.view(np.uint8).reshape(batch, size, size, channels))


def flip(pictures: Pictures, chosen: NDArray[np.bool_]) -> Pictures:
    """Mirror the chosen pictures (bool [batch]) left to right."""
    source = pictures[chosen]
    mirrored = np.empty_like(source)
    for channel in range(source.shape[3]):  # a strided copy a channel is faster than one of whole pixels
        mirrored[..., channel] = source[:, :, ::-1, channel]
    pictures[chosen] = mirrored
    return pictures


def alternating(seed: int, epoch: int, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pictures an epoch mirrors, bool [batch]: half of them in the first one, then each in every second one.

    Two epochs in a row show both sides of every picture (https://arxiv.org/abs/2404.00498, section 3.6).
    """
    return draws.coins(seed, draws.ALTERNATING_FLIP, indices) ^ (epoch % 2 == 1)


def resized_crop(
    images: Images, indices: NDArray[np.int64], uniform: NDArray[np.float64], *, size: int, least: float
) -> Pictures:
    """A box of random area, shape and place, resampled to size × size.

    Where the shape does not fit into the picture, the box is cut to fit (the usual way is to draw again).

    Args:
        images: Where the pictures lie.
        indices: int64 [batch], which of them.
        uniform: float64 [batch, 4] in [0, 1): area, shape, left, top.
        size: Height and width of the result.
        least: The least share of the area, 0 to 1.
    """
    boxes = crop_boxes(uniform, side=images.side, least=least)
    first = np.maximum(np.floor(boxes[:, :2]).astype(int) - 1, 0)  # a pixel more on each side, for the blending
    last = np.minimum(np.ceil(boxes[:, :2] + boxes[:, 2:]).astype(int) + 1, images.side)
    windows = [(slice(top, end), slice(left, stop)) for (left, top), (stop, end) in zip(first, last, strict=True)]
    result = np.empty((len(indices), size, size, images.channels), np.uint8)
    boxes[:, :2] -= first
    for row, picture in enumerate(read_windows(images, indices, windows)):
        part, box = shrink(picture, tuple(boxes[row]), height=size, width=size)
        result[row] = bilinear(part, box, height=size, width=size, channels=images.channels)
    return result


def crop_boxes(uniform: NDArray[np.float64], *, side: int, least: float) -> NDArray[np.float64]:
    """The boxes of `resized_crop`: float64 [batch, 4], left, top, width, height in pixels."""
    area = least + uniform[:, 0] * (1 - least)
    low, high = np.log(ASPECT)
    stretch = np.exp((low + uniform[:, 1] * (high - low)) / 2)
    width = np.clip(np.sqrt(area) * stretch * side, 1, side)
    height = np.clip(np.sqrt(area) / stretch * side, 1, side)
    return np.stack([uniform[:, 2] * (side - width), uniform[:, 3] * (side - height), width, height], axis=1)


def color_jitter(pictures: Pictures, uniform: NDArray[np.float64], *, strength: float) -> Pictures:
    """Random brightness, contrast and saturation, each a factor in [1 - strength, 1 + strength].

    The three are linear, so they are one step here: clipped once, in this order (elsewhere often thrice, in a random
    order). A grey picture has no saturation.

    Args:
        pictures: uint8 [batch, height, width, channel].
        uniform: float64 [batch, 3] in [0, 1).
        strength: 0 to 1.
    """
    brightness, contrast, saturation = (1 + (uniform.T * 2 - 1) * strength).astype(np.float32)
    floats = pictures.astype(np.float32)
    if pictures.shape[3] == 3:
        grey = floats @ LUMA  # [batch, height, width]
    else:
        grey, saturation = floats.mean(axis=3), np.ones_like(saturation)
    middle = grey.mean(axis=(1, 2)) * brightness
    gain = brightness * contrast
    base = grey * (gain * (1 - saturation))[:, None, None] + (middle * (1 - contrast))[:, None, None]
    floats *= (gain * saturation)[:, None, None, None]
    floats += base[..., None]
    floats += 0.5
    return np.clip(floats, 0, 255, out=floats).astype(np.uint8)


def erase(pictures: Pictures, uniform: NDArray[np.float64], *, chance: float) -> Pictures:
    """Cover a random rectangle of some pictures with the picture's own mean colour (https://arxiv.org/abs/1708.04896).

    Args:
        pictures: uint8 [batch, height, width, channel]; changed in place.
        uniform: float64 [batch, 5] in [0, 1): whether, area, shape, top, left.
        chance: 0 to 1.
    """
    for index in np.flatnonzero(uniform[:, 0] < chance):
        top, left, height, width = erased_box(uniform[index], side=pictures.shape[1])
        colour = np.round(_mean_colour(pictures[index])).astype(np.uint8)
        pictures[index, top : top + height, left : left + width] = colour
    return pictures


def _mean_colour(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """float64 [channel] of uint8 [height, width, channel]; whole rows first, which is 10 × as fast as `mean`."""
    height, width, channels = picture.shape
    columns = picture.reshape(height, width * channels).sum(axis=0, dtype=np.uint32)
    return np.asarray(columns.reshape(width, channels).mean(axis=0) / height)


def erased_box(uniform: NDArray[np.float64], *, side: int) -> tuple[int, int, int, int]:
    """Top, left, height and width in pixels of what `erase` covers; `uniform` is one row of its draws."""
    area = ERASED_AREA[0] + uniform[1] * (ERASED_AREA[1] - ERASED_AREA[0])
    low, high = np.log(ERASED_ASPECT)
    stretch = np.exp((low + uniform[2] * (high - low)) / 2)
    height = int(np.clip(round(side * np.sqrt(area) * stretch), 1, side))
    width = int(np.clip(round(side * np.sqrt(area) / stretch), 1, side))
    return int(uniform[3] * (side - height + 1)), int(uniform[4] * (side - width + 1)), height, width
