"""What the first bytes of an encoded picture say, before any decoder sees it: its format, height and width.

JPEG, PNG, WebP, BMP and GIF (the first frame) are taken. TIFF and the portable pixmaps, which training reads too, are
not: one container has dozens of codecs, and the other's text form is parsed by slow code.

Pillow reads what stands before the pixels in Python, block by block and while it holds the interpreter; a file of
nothing but empty blocks would stop a service for seconds. So blocks are counted here first.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
MAGICS = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"))
BASELINE = (0xC0, 0xC1)  # frames of a JPEG with Huffman codes and without refinements
SCAN = 0xDA  # a marker of JPEG: the first pixels follow
MARKER = re.compile(rb"\xff[^\0\xff]")
# Each scan of a progressive JPEG costs a pass over the picture, and few bytes: libjpeg-turbo asks who decodes for
# strangers to limit them (https://libjpeg-turbo.org/pmwiki/uploads/About/TwoIssueswiththeJPEGStandard.pdf).
# Encoders write about ten. A scan of a baseline JPEG has bits for each block, so its work grows with its bytes only.
MAX_SCANS = 100
MAX_BLOCKS = 20_000  # segments of a JPEG, chunks of a PNG, sub-blocks of a GIF; 16 MB in chunks of 1 KiB have fewer
MAX_SIDE = 65_535  # that of JPEG; a longer row or column of few pixels takes more memory than they do
MAX_PROFILES = 4  # colour profiles of a PNG, one is right: each may unpack to a megabyte
TOO_MANY_BLOCKS = f"has more than {MAX_BLOCKS} blocks: save it anew"
LENGTH = struct.Struct(">I")
EXTENSION, FRAME = 0x21, 0x2C  # blocks of a GIF
PLAIN_BMP = (0, 3)  # compressions without run lengths, whose jumps can ask for gigabytes
CORE_BMP = 12  # bytes of the oldest header


class Header(NamedTuple):
    """A picture's format by Pillow's name, and its size in pixels."""

    format: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height


def format_of(data: bytes) -> str | None:
    """The format by the first bytes; None = none that is taken."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:2] == b"BM":
        return "BMP"
    return next((name for magic, name in MAGICS if data.startswith(magic)), None)


def read_header(data: bytes) -> Header:
    """Format and size.

    Raises:
        LookupError: It is no picture of the five formats; the message is the reason.
        ValueError: It is one, but broken or of a variant that isn't taken.
    """
    name = format_of(data)
    if name is None:
        raise LookupError("is not a JPEG, PNG, WebP, BMP or GIF")
    try:
        width, height = READERS[name](data)
    except struct.error:
        raise ValueError("is cut off inside its header") from None
    if width < 1 or height < 1:
        raise ValueError(f"has {width} × {height} pixels")
    if max(width, height) > MAX_SIDE and min(width, height) < MAX_SIDE:
        raise ValueError(f"has {width} × {height} pixels: no side may be longer than {MAX_SIDE}")
    return Header(name, width, height)


def _jpeg(data: bytes) -> tuple[int, int]:
    place, size, blocks, baseline = 2, None, 0, False
    while blocks < MAX_BLOCKS:
        found = MARKER.search(data, place)
        if found is None:
            raise ValueError("is a broken JPEG")
        blocks += 1 + found.start() - place  # decoders pass over stray bytes, one by one
        place = found.start()
        marker, length = struct.unpack_from(">BH", data, place + 1)
        if marker == SCAN and size:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, place + 5)
            size, baseline = (width, height), marker in BASELINE
        place += 2 + length
    else:
        raise ValueError(TOO_MANY_BLOCKS)
    if not baseline and data.count(b"\xff\xda", place) > MAX_SCANS:
        raise ValueError(f"has more than {MAX_SCANS} scans: save it as a baseline JPEG")
    return size


def _png(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise ValueError("is a broken PNG")
    if data.count(b"iCCP") > MAX_PROFILES:
        raise ValueError("has several colour profiles")
    width, height = struct.unpack_from(">II", data, 16)
    place = 8
    for _ in range(MAX_BLOCKS):
        if place + 4 > len(data):
            return width, height
        place += 12 + LENGTH.unpack_from(data, place)[0]
    raise ValueError(TOO_MANY_BLOCKS)


def _gif(data: bytes) -> tuple[int, int]:
    """The size of the first frame and the screen together, as Pillow takes it."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    place = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    blocks = 0
    while blocks < MAX_BLOCKS:
        (kind,) = struct.unpack_from("B", data, place)
        if kind == FRAME:
            left, top, wide, high = struct.unpack_from("<HHHH", data, place + 1)
            return max(width, left + wide), max(height, top + high)
        place += 2 if kind == EXTENSION else 1
        while kind == EXTENSION and blocks < MAX_BLOCKS:
            (length,) = struct.unpack_from("B", data, place)
            place += 1 + length
            blocks += 1
            if not length:
                break
        blocks += 1
    raise ValueError(TOO_MANY_BLOCKS)


def _bmp(data: bytes) -> tuple[int, int]:
    (length,) = struct.unpack_from("<I", data, 14)
    if length == CORE_BMP:
        width, height = struct.unpack_from("<HH", data, 18)
        return width, height
    width, height, _, _, compression = struct.unpack_from("<iiHHI", data, 18)
    if compression not in PLAIN_BMP:
        raise ValueError("is a compressed BMP: save it as PNG")
    return width, abs(height)


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        low_width, high_width, low_height, high_height = struct.unpack_from("<HBHB", data, 24)
        return 1 + low_width + (high_width << 16), 1 + low_height + (high_height << 16)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    raise ValueError("is a broken WebP")


READERS = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "BMP": _bmp, "WEBP": _webp}
