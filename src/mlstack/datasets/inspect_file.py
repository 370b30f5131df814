"""A cheap look at an image file: its header and its end, without decoding it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import simplejpeg
from PIL import Image

from mlstack.datasets.decode import MAX_PIXELS, decode_file
from mlstack.errors import DataError

HEAD, TAIL = 65536, 4096  # bytes read at either end
DIGESTED = 4096  # bytes at either end that count for the fingerprint
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_GREY = (0, 4)  # colour types of PNG that have no colour


@dataclass(frozen=True)
class Look:
    """What a look at one file showed.

    Attributes:
        problem: Why it can't be used, in a few words; empty = nothing found.
        digest: sha256 over its size and its first and last 4 KiB.
        stamp: Its time of change in nanoseconds.
        shorter: Its shorter side in pixels, 0 = unknown.
        grey: Whether it has no colours.
    """

    problem: str
    digest: bytes
    stamp: int
    shorter: int
    grey: bool


def look(path: Path) -> Look:
    """Read both ends of a file. Where they don't settle whether it is whole, it is decoded."""
    try:
        stat = path.stat()
        with path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(max(0, stat.st_size - TAIL))
            tail = file.read()
    except OSError as error:
        return Look(str(error.strerror), b"", 0, 0, grey=False)
    digest = hashlib.sha256(b"%d " % stat.st_size + head[:DIGESTED] + tail[-DIGESTED:]).digest()
    problem, width, height, grey = _judge(path, head, tail)
    if not problem and width * height > MAX_PIXELS:
        problem = f"{width} × {height} pixels are too many"
    return Look(problem, digest, stat.st_mtime_ns, min(width, height), grey=grey)


def _judge(path: Path, head: bytes, tail: bytes) -> tuple[str, int, int, bool]:
    """Problem, width, height, grey."""
    if not head:
        return "empty file", 0, 0, False
    try:
        if head[:2] == b"\xff\xd8" and b"\xff\xd9" in tail:
            height, width, space, _ = simplejpeg.decode_jpeg_header(head)
            return "", width, height, space == "Gray"
        if head[:8] == PNG_SIGNATURE and b"IEND" in tail:
            width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
            return "", width, height, head[25] in PNG_GREY
    except (ValueError, IndexError):
        pass  # perhaps a long header: the decoder has the last word
    return _decode(path)


def _decode(path: Path) -> tuple[str, int, int, bool]:
    try:
        decode_file(path, side=8, channels=3, resize="stretch")
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            return "", image.width, image.height, image.mode in ("1", "L", "LA", "I;16")
    except DataError as error:
        return error.message.split("can't be read: ", 1)[-1], 0, 0, False
