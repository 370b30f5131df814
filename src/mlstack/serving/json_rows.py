"""JSON bodies: rows of pixels, or encoded pictures as base64.

    {"inputs": [image, …]}                   images as nested lists [height][width][channel] of whole numbers 0 to 255
    {"images": ["<base64 of a JPEG>", …]}    also with a prefix such as data:image/jpeg;base64,

Rows as programs write them are read without an object for each number: without its digits, the text of n images of one
size is always the same, so that one comparison checks the structure, and NumPy reads the digits of all numbers at once.
Whatever else JSON allows, and every mistake, goes through a real parser.
"""

from __future__ import annotations

import binascii
import re
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mlstack.bundle.metadata import PictureInput
from mlstack.serving.input_problems import quoted, too_many
from mlstack.serving.json_places import rows_of
from mlstack.serving.problems import bad_request, too_large

HEAD = re.compile(rb'\s*\{\s*"inputs"\s*:\s*\[\s*(?=\[)')
TAIL = re.compile(rb"\]\s*\}\s*")
DIGITS, WHITE = b"0123456789", b" \t\n\r"
ZERO, TEN, HUNDRED = np.uint8(ord("0")), np.uint8(10), np.uint16(100)
OPENING, CLOSING = np.uint8(ord("[") - ord("0")), np.uint8(ord("]") - ord("0"))
GROUP_BYTES = 65536  # text that is read at once: the temporaries are ten times that
KEYS = ("inputs", "images")
SPARE = 64  # brackets, commas and quotes beyond those that the largest right body has
DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,", re.ASCII)
SHAPE_OF_BODY = '{"inputs": [image, …]} or {"images": ["<base64 of a JPEG or PNG>", …]}'


def read_json(body: bytes, picture: PictureInput, max_images: int) -> NDArray[np.uint8] | list[bytes]:
    """A JSON body.

    Args:
        body: The text.
        picture: What the model takes.
        max_images: Most images of a request.

    Returns:
        uint8 [n, height, width, channel] of rows, or encoded pictures.

    Raises:
        Problem: 400 that names the place and what is allowed there, 413 for too many images.
    """
    plain = _plain_rows(body, picture, max_images)
    if plain is None and b".0" in body:  # 12.0, as programs write arrays of floating-point numbers
        plain = _plain_rows(body.replace(b".0,", b",").replace(b".0]", b"]"), picture, max_images)
    if plain is not None:
        return plain
    _refuse_many_values(body, picture, max_images)
    document = _parse(body)
    key = _only_key(document)
    values = document[key]
    if not isinstance(values, list) or not values:
        raise bad_request(f'"{key}" is to be a list of at least one image: {SHAPE_OF_BODY}')
    # orjson keeps the last of two equal keys; a right body has no other strings than these.
    if body.count(b'"') > 2 + (2 * len(values) if key == "images" else 0) and body.count(b'"%s"' % key.encode()) > 1:
        raise bad_request(f'"{key}" stands there twice')
    if len(values) > max_images and key == "images":
        raise too_many(len(values), max_images)
    if key == "images":
        return [_base64(value, f"images[{index}]") for index, value in enumerate(values)]
    return rows_of(values, picture, max_images)


def _plain_rows(body: bytes, picture: PictureInput, max_images: int) -> NDArray[np.uint8] | None:
    """Rows in plain notation: whole numbers, no white space after them. None = something else, right or wrong."""
    head = HEAD.match(body)
    if head is None:
        return None
    end = body.rfind(b"]")
    if TAIL.fullmatch(body, end) is None:
        return None
    flat = picture.channels == 1 and body[head.end() : head.end() + 3].count(b"[") == 2
    shape = (picture.height, picture.width) if flat else (picture.height, picture.width, picture.channels)
    opening, closing = b"[" * len(shape), b"]" * len(shape)
    text = _without_space(body[head.end() : end])
    if not (text.startswith(opening) and text.endswith(closing)):
        return None
    images = text[len(opening) : -len(closing)].split(closing + b"," + opening)
    if len(images) > max_images:
        raise too_many(len(images), max_images)
    group = max(1, GROUP_BYTES // (len(images[0]) + 1))
    parts = []
    for start in range(0, len(images), group):
        part = _digits(images[start : start + group], shape)
        if part is None:
            return None
        parts.append(part)
    rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return rows.reshape(-1, picture.height, picture.width, picture.channels)


def _without_space(text: bytes) -> bytes:
    """JSON without its white space; as it is where that stands after a digit: `1 2` is not 12."""
    codes = np.frombuffer(text, np.uint8)
    space = codes[1:] <= ord(" ")
    if not space.any() or (space & (codes[:-1] - ZERO < 10)).any():
        return text
    return text.translate(None, WHITE)


def _digits(images: list[bytes], shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The numbers of some images of compact JSON, each without its outer brackets: uint8 [n · values].

    None = another structure, or numbers that aren't 0 to 255 in plain notation.
    """
    skeleton, values = _skeleton(shape)
    joint = b"]" * len(shape) + b"," + b"[" * len(shape)
    text = joint.join(images)
    bare = text.translate(None, DIGITS)
    if bare != joint.join([skeleton] * len(images)):
        return None
    digit = np.frombuffer(b",,%b," % text, np.uint8) - ZERO  # what is no digit is above 9
    is_digit = digit < 10
    opens, closes = digit == OPENING, digit == CLOSING
    if (is_digit[:-1] & opens[1:]).any() or (closes[:-1] & is_digit[1:]).any():  # `],5[` and `]5,[`
        return None
    digit *= is_digit
    last = np.flatnonzero(is_digit[2:-1] > is_digit[3:])  # a digit before a bracket or comma
    low = (digit[1:-2] * TEN + digit[2:-1]).take(last)
    hundreds = (digit[:-3] * is_digit[1:-2]).take(last)
    numbers = hundreds * HUNDRED + low
    if len(numbers) != values * len(images) or numbers.max() > 255:
        return None
    # As many digits as the numbers need: so none has a leading zero or a fourth digit.
    needed = len(numbers) + np.count_nonzero(numbers > 9) + np.count_nonzero(numbers > 99)
    return numbers.astype(np.uint8) if len(text) - len(bare) == needed else None


@lru_cache(maxsize=64)
def _skeleton(shape: tuple[int, ...]) -> tuple[bytes, int]:
    """An image in JSON without its digits and outer brackets, and how many numbers it has."""
    inner = b""
    values = 1
    for depth, size in enumerate(reversed(shape)):
        inner = (b"]" * depth + b"," + b"[" * depth).join([inner] * size)
        values *= size
    return inner, values


def _refuse_many_values(body: bytes, picture: PictureInput, max_images: int) -> None:
    """Objects take 10 to 30 times the memory of their text: count them before they are made."""
    rows = max_images * picture.height
    numbers = rows * picture.width * picture.channels
    brackets = 1 + max_images + rows + rows * picture.width
    if (
        body.count(b"[") > brackets + SPARE
        or body.count(b",") > numbers + SPARE
        or body.count(b'"') > 2 * (max_images + SPARE)
        or body.count(b"{") > SPARE
    ):
        size = f"{picture.height} × {picture.width} × {picture.channels}"
        raise too_large(
            f"the JSON holds more values than {max_images} images of {size}, the most of one request: "
            "check the size of the images, and send them in several requests"
        )


def _parse(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        hint = "; JSON has no NaN or Infinity" if re.search(rb"\b(NaN|Infinity)\b", body) else ""
        raise bad_request(f"the body is not JSON: {error}{hint}") from None
    if not isinstance(document, dict):
        raise bad_request(f"the body is JSON but no object: send {SHAPE_OF_BODY}")
    return document


def _only_key(document: dict[str, Any]) -> str:
    known = [key for key in KEYS if key in document]
    for key in document:
        if key not in KEYS:
            near = get_close_matches(key[:40].lower(), KEYS, 1, 0.5)
            meant = f', did you mean "{near[0]}"?' if near else ","
            raise bad_request(f"unknown key {quoted(key)}{meant} send {SHAPE_OF_BODY}")
    if len(known) != 1:
        raise bad_request(f"{'both inputs and images' if known else 'an empty object'}: send {SHAPE_OF_BODY}")
    return known[0]


def _base64(value: object, place: str) -> bytes:
    if not isinstance(value, str):
        raise bad_request(f"{place} is no string: the base64 of an encoded picture is wanted")
    prefix = DATA_URL.match(value[:128])
    text = value[prefix.end() :] if prefix else value
    try:
        data = binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError as error:
        raise bad_request(f"{place} is not base64 (A-Z a-z 0-9 + / and = at the end): {error}") from None
    if not data:
        raise bad_request(f"{place} is empty: the base64 of an encoded picture is wanted")
    return data
