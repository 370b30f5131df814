"""Nested lists to rows of pixels, and where in them a mistake lies: `inputs[0][3][7] has 4 values, 3 are wanted`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.metadata import PictureInput
from mlstack.serving.input_problems import quoted, too_many
from mlstack.serving.problems import Problem, bad_request

PIXELS = "pixels are whole numbers from 0 to 255"
UNITS = ("rows", "pixels", "channels")
DEEPEST = 6  # levels that a message counts; deeper nesting is named so


def rows_of(images: list[Any], picture: PictureInput, max_images: int) -> NDArray[np.uint8]:
    """Parsed JSON to rows, with calls that look at whole lists at once.

    Args:
        images: What stands under `inputs`, at least one value.
        picture: What the model takes.
        max_images: Most images of a request.

    Returns:
        uint8 [n, height, width, channel]

    Raises:
        Problem: 400 that names the first wrong place, 413 for too many images.
    """
    wanted: tuple[int, ...] = (picture.height, picture.width, picture.channels)
    given = _shape(images)[1:]
    if picture.channels == 1 and len(given) == 2:
        wanted = wanted[:2]
    if given != wanted:
        raise bad_request(_other_size(given, wanted))
    if len(images) > max_images:
        raise too_many(len(images), max_images)
    level = images
    for depth, size in enumerate(wanted):
        if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
            raise _wrong_list(level, (len(images), *wanted), depth, size)
        level = list(chain.from_iterable(level))
    pixels = _pixels(level, (len(images), *wanted))
    return pixels.reshape(len(images), picture.height, picture.width, picture.channels)


def _pixels(values: list[Any], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """uint8 [n] of numbers that all are whole and from 0 to 255."""
    kinds = set(map(type, values))
    if kinds == {int}:
        try:
            return np.frombuffer(bytes(values), np.uint8)
        except ValueError:
            pass
    elif kinds <= {int, float}:
        # JSON's whole numbers have up to 64 bits, and none that a float64 rounds comes near 255.
        numbers = np.array(values, np.float64)
        if ((numbers >= 0) & (numbers <= 255) & (numbers == np.floor(numbers))).all():
            return numbers.astype(np.uint8)
    index = next(index for index, value in enumerate(values) if not _is_pixel(value))
    raise bad_request(f"{_place(index, shape)} is {_shown(values[index])}: {PIXELS}")


def _is_pixel(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= 255 and value == int(value)  # type: ignore[operator, call-overload]


def _shape(value: object) -> tuple[int, ...]:
    """Lengths of the first list at each depth."""
    lengths: list[int] = []
    while isinstance(value, list) and len(lengths) <= DEEPEST:
        lengths.append(len(value))
        value = value[0] if value else None
    return tuple(lengths)


def _other_size(given: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    sizes = f"inputs[0] is {_times(given)}, this model takes {_times(wanted)} (height × width × channels)"
    if len(given) == len(wanted) - 1:
        return f"{sizes}: put one more [ ] around a single image"
    if len(given) == 3 == len(wanted) and given == (wanted[2], *wanted[:2]):
        return f"{sizes}: channels come last"
    if len(given) >= DEEPEST:
        return f"inputs is nested too deep: [image][height][width][channel] is wanted, an image of {_times(wanted)}"
    return f"{sizes}; to have a picture resized, send the file itself: curl -F file=@cat.jpg"


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "a single value"


def _wrong_list(level: Sequence[Any], shape: tuple[int, ...], depth: int, size: int) -> Problem:
    """The first list of a level that isn't one, or has another length."""
    index = next(index for index, value in enumerate(level) if type(value) is not list or len(value) != size)
    place, value = _place(index, shape[: depth + 1]), level[index]
    if type(value) is not list:
        return bad_request(f"{place} is {_shown(value)}: a list of {size} {UNITS[depth]} is wanted")
    return bad_request(f"{place} has {len(value)} {UNITS[depth]}, {size} are wanted")


def _place(index: int, shape: tuple[int, ...]) -> str:
    """`inputs[0][3][7]` of a position in the flattened lists."""
    return "inputs" + "".join(f"[{part}]" for part in np.unravel_index(index, shape))


def _shown(value: object) -> str:
    """A value as it stands in JSON, cut."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return quoted(value) if isinstance(value, str) else str(value)
