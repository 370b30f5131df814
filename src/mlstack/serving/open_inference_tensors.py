"""The tensors of the open inference protocol: JSON numbers, base64, or raw bytes behind the JSON."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from mlstack.serving.problems import bad_request

LENGTH_BYTES: Final = 4  # before each element of a binary BYTES tensor, little-endian
MAX_SHOWN = 60  # characters of a client's value in a message


def pixels(data: Any, shape: Sequence[int]) -> NDArray[np.uint8]:
    """Ready pictures.

    Args:
        data: The raw bytes; or numbers of 0 to 255 from JSON, nested as `shape` says or flat.
        shape: [n, height, width, channel], checked already.

    Returns:
        uint8 [n, height, width, channel]; of raw bytes a view of them, which can't be written to.

    Raises:
        Problem: 400.
    """
    raw = data if isinstance(data, memoryview) else _numbers(data, shape)
    wanted = math.prod(shape)
    if len(raw) != wanted:
        raise bad_request(f"images holds {len(raw):,} values, expected {wanted:,} for the shape {list(shape)}")
    return np.frombuffer(raw, np.uint8).reshape(shape)


def encoded_pictures(data: Any, count: int) -> list[bytes]:
    """Pictures as files: JPEG, PNG, ….

    Args:
        data: Raw bytes, each picture behind its length; or base64 texts from JSON.
        count: How many there have to be.

    Raises:
        Problem: 400.
    """
    pictures = _elements(data) if isinstance(data, memoryview) else _from_base64(data)
    if len(pictures) != count:
        raise bad_request(f"images holds {len(pictures)} pictures, its shape says {count}")
    return pictures


def shown(value: Any) -> str:
    """A client's value for a message: on one line, and short."""
    text = orjson.dumps(value, default=str).decode(errors="replace")
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def parameters_of(part: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """The `parameters` of a request, an input or an output; empty where there are none.

    Raises:
        Problem: 400, they are no object.
    """
    value = part.get("parameters")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"{what}: parameters has to be an object, not {shown(value)}")
    return value


def _numbers(data: Any, shape: Sequence[int]) -> bytes:
    if not isinstance(data, list):
        raise bad_request(f"images: data has to be a list of integers from 0 to 255, not {shown(data)}")
    if data and isinstance(data[0], list):
        data = _flat(data, shape)
    try:
        return bytes(data)  # an order of magnitude faster than numpy.array, and it takes integers of 0 to 255 only
    except (ValueError, TypeError):
        wrong = next((one for one in data if type(one) is not int or not 0 <= one <= 255), None)
        raise bad_request(f"images: data holds {shown(wrong)}, expected integers from 0 to 255") from None


def _flat(data: list[Any], shape: Sequence[int]) -> list[Any]:
    """One list of nested ones, which have to be as long as the shape says on every level."""
    for axis, size in enumerate(shape[1:], start=1):
        if not all(isinstance(one, list) and len(one) == size for one in data):
            raise bad_request(f"images: data is not nested as its shape {list(shape)} says, at axis {axis}")
        data = list(chain.from_iterable(data))
    return data


def _elements(data: memoryview) -> list[bytes]:
    pictures, at = [], 0
    while at < len(data):
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "little")
        if at > len(data) or start > len(data):
            raise bad_request("images: the binary data end inside an element; each has its length in 4 bytes before it")
        pictures.append(bytes(data[start:at]))
    return pictures


def _from_base64(data: Any) -> list[bytes]:
    if not isinstance(data, list):
        raise bad_request(f"images: data has to be a list of base64 texts, not {shown(data)}")
    flat = list(chain.from_iterable(data)) if data and all(isinstance(one, list) for one in data) else data
    try:
        return [base64.b64decode(one, validate=True) for one in flat]
    except (binascii.Error, ValueError, TypeError):
        raise bad_request("images: data of the type BYTES has to be JPEG or PNG files as base64 in JSON") from None
