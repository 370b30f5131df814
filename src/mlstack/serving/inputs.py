"""A request's body to rows of pixels, or to encoded pictures that are still to be decoded: by its content type.

application/json            {"inputs": …} or {"images": …}, see json_rows.py
application/octet-stream    uint8 [n, height, width, channel]
application/x-npy           the same as a .npy file
multipart/form-data         one or more files in fields `file`
image/jpeg, png, webp, bmp, gif    one picture
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.metadata import PictureInput
from mlstack.serving.input_problems import quoted
from mlstack.serving.json_rows import read_json
from mlstack.serving.multipart_files import read_files
from mlstack.serving.npy import MAGIC, read_npy, read_raw
from mlstack.serving.picture_headers import FORMATS, format_of
from mlstack.serving.problems import Problem, bad_request, unsupported

JSON, RAW, FORM = "application/json", "application/octet-stream", "multipart/form-data"
NPY = ("application/x-npy", "application/npy")
URL_ENCODED = "application/x-www-form-urlencoded"
ALLOWED = f"{JSON}, {RAW}, {NPY[0]}, {FORM}, image/jpeg, image/png, image/webp, image/bmp, image/gif"
OTHER_NAMES = {"image/jpg": "JPEG", "image/pjpeg": "JPEG", "image/x-png": "PNG", "image/x-ms-bmp": "BMP"}
PICTURES = {f"image/{name.lower()}": name for name in FORMATS} | OTHER_NAMES


@dataclass(frozen=True)
class InputLimits:
    """What a request may hold.

    Attributes:
        max_images: Most images.
        max_pixels: Most pixels of one encoded picture, before it is resized.
    """

    max_images: int
    max_pixels: int


def read_inputs(
    content_type: str, body: bytes, picture: PictureInput, limits: InputLimits
) -> NDArray[np.uint8] | list[bytes]:
    """A body by its content type.

    Args:
        content_type: The header; empty = found out from the body's first bytes.
        body: All of it.
        picture: What the model takes.
        limits: Of a request.

    Returns:
        uint8 [n, height, width, channel], perhaps read-only and in the body's own memory; or encoded pictures, each of
        them still to be checked and decoded.

    Raises:
        Problem: 400, 413 or 415; it says what was given and what is allowed.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        raise bad_request(f"the body is empty: send one of {ALLOWED}")
    if not kind:
        kind = _sniffed(body)
    if kind == JSON:
        return read_json(body, picture, limits.max_images)
    if kind == RAW:
        return _raw(body, picture, limits)
    if kind in NPY:
        return read_npy(body, picture, limits.max_images)
    if kind == FORM:
        return read_files(content_type, body, limits.max_images)
    if kind in PICTURES:
        return [body]
    raise _not_taken(kind)


def _raw(body: bytes, picture: PictureInput, limits: InputLimits) -> NDArray[np.uint8]:
    try:
        return read_raw(body, picture, limits.max_images)
    except Problem as problem:
        found = _sniffed(body, default="")
        if problem.status != 400 or not found:
            raise
        raise bad_request(f"{problem.detail}; this looks like {found}, which is to be its content type") from None


def _sniffed(body: bytes, default: str | None = None) -> str:
    """The content type of a body that came without one."""
    if body.startswith(MAGIC):
        return NPY[0]
    name = format_of(body)
    if name:
        return f"image/{name.lower()}"
    if body[:64].lstrip().startswith(b"{"):
        return JSON
    if default is None:
        raise unsupported(f"no content type is given, and the body is none that is known by its start: send {ALLOWED}")
    return default


def _not_taken(kind: str) -> Problem:
    if kind == URL_ENCODED:
        return unsupported(
            f"{kind} is what curl -d sends by itself: add -H 'content-type: {JSON}', or send a file with "
            f"curl -F file=@cat.jpg; taken are {ALLOWED}"
        )
    return unsupported(f"{quoted(kind)} is not taken: send {ALLOWED}")
