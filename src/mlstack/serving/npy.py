"""Bodies of raw pixels: application/octet-stream, and the files of `numpy.save` without pickle.

The header of a .npy (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html) is a Python literal; its
three entries are found by patterns here, so that nothing of a stranger's text is evaluated.
"""

from __future__ import annotations

import math
import re

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.metadata import PictureInput
from mlstack.serving.input_problems import too_many
from mlstack.serving.problems import Problem, bad_request

MAGIC = b"\x93NUMPY"
MAX_HEADER = 4096  # bytes; NumPy writes 128
DTYPE = re.compile(rb"""["']descr["']\s*:\s*["']([<>|=]?[A-Za-z?]\d{0,4})["']""")
ORDER = re.compile(rb"""["']fortran_order["']\s*:\s*(True|False)""")
SHAPE = re.compile(rb"""["']shape["']\s*:\s*\(([\d\s,L]{0,200})\)""")
WHOLE = re.compile(r"[<>|=]?[iu][1248]")


def read_raw(body: bytes, picture: PictureInput, max_images: int) -> NDArray[np.uint8]:
    """uint8 [n, height, width, channel] without a copy, so read-only; a Problem names the bytes of one image."""
    size = picture.height * picture.width * picture.channels
    images, rest = divmod(len(body), size)
    if rest or not images:
        raise bad_request(f"{len(body)} bytes: one image has {size} bytes, uint8 {_wanted(picture)}")
    if images > max_images:
        raise too_many(images, max_images)
    return np.frombuffer(body, np.uint8).reshape(images, picture.height, picture.width, picture.channels)


def read_npy(body: bytes, picture: PictureInput, max_images: int) -> NDArray[np.uint8]:
    """A .npy file of whole numbers from 0 to 255.

    Args:
        body: The file.
        picture: What the model takes.
        max_images: Most images of a request.

    Returns:
        uint8 [n, height, width, channel], read-only where it is the body itself.

    Raises:
        Problem: 400 for another dtype, shape or length; 413 for too many images.
    """
    dtype, fortran, shape, start = _header(body)
    one = (picture.height, picture.width, picture.channels)
    if shape[-3:] != one or len(shape) > 4 or 0 in shape:
        raise bad_request(f"the .npy has the shape {shape}: {_wanted(picture)} or {one} is wanted")
    if len(shape) == 4 and shape[0] > max_images:
        raise too_many(shape[0], max_images)
    needed, given = math.prod(shape) * dtype.itemsize, len(body) - start
    if needed != given:
        raise bad_request(f"the .npy's header promises {needed} bytes of pixels, {given} follow")
    values = np.frombuffer(body, dtype, offset=start)
    if dtype.itemsize > 1 or dtype.kind == "i":
        if values.min() < 0 or values.max() > 255:
            raise bad_request(f"the .npy holds {values.min()} to {values.max()}: pixels are 0 to 255")
        values = values.astype(np.uint8)
    if fortran:
        values = np.ascontiguousarray(values.reshape(shape[::-1]).T)
    return values.reshape(-1, *one)


def _header(body: bytes) -> tuple[np.dtype[np.integer], bool, tuple[int, ...], int]:
    """dtype, whether in Fortran's order, shape, and where the pixels start."""
    if body[:6] != MAGIC or len(body) < 12 or body[6] not in (1, 2, 3):
        raise _no_npy("it doesn't begin as a .npy")
    width = 2 if body[6] == 1 else 4
    start = 8 + width
    length = int.from_bytes(body[8:start], "little")
    if length > min(MAX_HEADER, len(body) - start):
        raise _no_npy(f"its header is said to have {length} bytes")
    header = body[start : start + length]
    dtype, order, shape = DTYPE.search(header), ORDER.search(header), SHAPE.search(header)
    if dtype is None:
        raise bad_request("the .npy holds no plain numbers: save an array of uint8")
    if order is None or shape is None:
        raise _no_npy("its header has no shape")
    sizes = re.findall(rb"\d+", shape[1])
    if len(sizes) > 8 or max(map(len, sizes), default=0) > 12:
        raise _no_npy("its header has a shape that can't be")
    name = dtype[1].decode()
    if WHOLE.fullmatch(name) is None:
        raise bad_request(f"the .npy has the dtype {name}: uint8 is wanted (array.astype(np.uint8))")
    return np.dtype(name), order[1] == b"True", tuple(map(int, sizes)), start + length


def _no_npy(why: str) -> Problem:
    return bad_request(f"the body is no whole .npy file: {why}; numpy.save writes one")


def _wanted(picture: PictureInput) -> str:
    return f"[n, {picture.height}, {picture.width}, {picture.channels}]"
