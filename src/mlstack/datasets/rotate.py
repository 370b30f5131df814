"""Rotation of whole batches: bilinear, about the centre, black outside; integer arithmetic on packed pixels.

The channels of a pixel are four lanes of 16 bits in one uint64, so that one multiplication weighs all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LANES = 4
BITS = 8  # weights are multiples of 1/256: 255 · 256 fits a lane of 16 bits
ONE = np.uint64(1 << BITS)
LOW_BYTES = np.uint64(0x00FF00FF00FF00FF)
HALVES = np.uint64(0x0080008000800080)  # rounds each lane: 255 · 256 + 128 still fits
PIXELS = 1 << 16  # at a time: the temporaries stay in the processor's cache


def rotate(pictures: NDArray[np.uint8], degrees: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Rotate each picture by its own angle, anticlockwise.

    Args:
        pictures: uint8 [batch, side, side, channel], at most 4 channels.
        degrees: float64 [batch].

    Returns:
        uint8 [batch, side, side, channel]
    """
    batch, side, _, channels = pictures.shape
    result = np.empty_like(pictures)
    count = max(1, PIXELS // (side * side))
    for start in range(0, batch, count):
        part = slice(start, start + count)
        turned = _sample(_pack(pictures[part]), *_sources(side, degrees[part]))
        lanes = turned.view(np.uint16).reshape(-1, side, side, LANES)
        for channel in range(channels):
            result[part, ..., channel] = lanes[..., channel]
    return result


def _pack(pictures: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """uint8 [batch, side, side, channel] → uint64 [batch, side + 3, side + 3]: a black border, 1 before, 2 after."""
    batch, side, _, channels = pictures.shape
    lanes = np.zeros((batch, side + 3, side + 3, LANES), np.uint16)
    for channel in range(channels):
        lanes[:, 1 : side + 1, 1 : side + 1, channel] = pictures[..., channel]
    return lanes.view(np.uint64)[..., 0]


def _sources(side: int, degrees: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel comes from: rows and columns of the bordered picture, float32 [batch, side, side]."""
    angle = np.deg2rad(degrees)
    cosine, sine = (values.astype(np.float32)[:, None, None] for values in (np.cos(angle), np.sin(angle)))
    middle = np.float32((side - 1) / 2)
    along = np.arange(side, dtype=np.float32) - middle
    rows, columns = along[:, None], along[None, :]
    source_rows = cosine * rows + sine * columns
    source_columns = cosine * columns - sine * rows
    for source in (source_rows, source_columns):
        source += middle + 1
        np.clip(source, 0, side + 1, out=source)
    return source_rows, source_columns


def _sample(packed: NDArray[np.uint64], rows: NDArray[np.float32], columns: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Blend the four pixels around each source: uint64 [batch, side, side]."""
    batch, wide, _ = packed.shape
    top, left = rows.astype(np.int32), columns.astype(np.int32)
    down = ((rows - top) * 256 + 0.5).astype(np.uint64)
    right = ((columns - left) * 256 + 0.5).astype(np.uint64)
    flat = packed.reshape(-1)
    index = top * wide + left + (np.arange(batch, dtype=np.int32) * (wide * wide))[:, None, None]
    upper = _blend(flat.take(index), flat.take(index + 1), right)
    lower = _blend(flat.take(index + wide), flat.take(index + wide + 1), right)
    return _blend(upper, lower, down)


def _blend(near: NDArray[np.uint64], far: NDArray[np.uint64], weights: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """near + (far - near) · weights / 256 in each lane, rounded; both inputs are overwritten."""
    near *= ONE - weights
    far *= weights
    near += far
    near += HALVES
    near >>= np.uint64(BITS)
    near &= LOW_BYTES
    return near
