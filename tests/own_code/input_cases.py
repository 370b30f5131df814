"""Bodies of requests: photographs of every kind, right bodies of every content type, and mutations of them."""

from __future__ import annotations

import asyncio
import base64
import io
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import orjson
from PIL import Image

from mlstack.bundle.metadata import PictureInput
from mlstack.datasets.decode import PictureRule
from mlstack.serving.inputs import InputLimits, read_inputs
from mlstack.serving.pictures import PictureDecoder
from mlstack.serving.problems import Problem

Case = tuple[str, bytes]  # content type and body

INPUT = PictureInput(8, 8, 3, "crop", 9)
RULE = PictureRule((8, 8), 9, 3, "crop")
LIMITS = InputLimits(max_images=4, max_pixels=10_000)
BOUNDARY = "a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
# What a mutation writes over a place: numbers that lie at the edge of what fits, and marks of the formats.
NUMBERS = (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"-1", b"1e9", b"NaN", b"9" * 30)
MARKS = (b"]", b"[[[[", b",", b'"', b"\xff\xda", b"\xff\xc0", b"IHDR", b"VP8X", b"\r\n--", b"==", b"\xe2\x28\xa1")
SPLICES = NUMBERS + MARKS


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """A picture as a file's content."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def photographs(size: tuple[int, int] = (60, 44)) -> dict[str, bytes]:
    """A smooth picture of width × height, in everything that cameras and programs write."""
    noise = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = image.copy()
    clear.putalpha(Image.linear_gradient("L").resize(size))
    deep = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return {
        "plain.jpg": encoded(image, "JPEG", quality=90),
        "turned.jpg": encoded(image, "JPEG", exif=exif),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "cmyk.jpg": encoded(image.convert("CMYK"), "JPEG"),
        "grey.jpg": encoded(image.convert("L"), "JPEG"),
        "plain.png": encoded(image, "PNG"),
        "turned.png": encoded(image, "PNG", exif=exif),
        "alpha.png": encoded(clear, "PNG"),
        "grey_alpha.png": encoded(clear.convert("LA"), "PNG"),
        "palette.png": encoded(image.quantize(16), "PNG"),
        "clear_palette.png": encoded(image.quantize(16), "PNG", transparency=3),
        "bits.png": encoded(image.convert("1"), "PNG"),
        "deep.png": encoded(deep, "PNG"),
        "plain.webp": encoded(image, "WEBP"),
        "lossless_alpha.webp": encoded(clear, "WEBP", lossless=True),
        "moving.webp": encoded(image, "WEBP", save_all=True, append_images=[image.rotate(180)], duration=50),
        "plain.bmp": encoded(image, "BMP"),
        "grey.bmp": encoded(image.convert("L"), "BMP"),
        "moving.gif": encoded(image, "GIF", save_all=True, append_images=[image.rotate(180)]),
    }


def png(width: int, height: int, data: bytes = b"", *, interlaced: bool = False, before: bytes = b"") -> bytes:
    """A PNG of grey pixels whose header claims width × height; `before` = chunks between header and pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, int(interlaced))
    return b"".join(
        (b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), before, chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def npy(array: np.ndarray) -> bytes:
    """A .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """A form of (field, file name or None, content)."""
    body = b""
    for field, filename, data in parts:
        named = "" if filename is None else f'; filename="{filename}"'
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{named}\r\n\r\n'
        body += head.encode() + data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def images(count: int = 2, picture: PictureInput = INPUT) -> np.ndarray:
    """uint8 [count, height, width, channel] of noise."""
    shape = (count, picture.height, picture.width, picture.channels)
    return np.random.default_rng(1).integers(0, 256, shape, np.uint8)


def right_bodies() -> dict[str, Case]:
    """At least one right body for each decoder, by a name."""
    rows, files = images(), photographs((20, 14))
    text = base64.b64encode(files["plain.jpg"]).decode()
    cases: dict[str, Case] = {
        "rows": ("application/json", orjson.dumps({"inputs": rows.tolist()})),
        "floats": ("application/json", orjson.dumps({"inputs": rows[:1].astype(float).tolist()})),
        "indented": ("application/json", orjson.dumps({"inputs": rows[:1].tolist()}, option=orjson.OPT_INDENT_2)),
        "base64": ("application/json", orjson.dumps({"images": [text, f"data:image/jpeg;base64,{text}"]})),
        "raw": ("application/octet-stream", rows.tobytes()),
        "npy": ("application/x-npy", npy(rows)),
        "npy_int64": ("application/x-npy", npy(np.asfortranarray(rows.astype(np.int64)))),
        "form": (FORM, form(("file", "a.jpg", files["plain.jpg"]), ("files", "b.png", files["alpha.png"]))),
    }
    return cases | {name: ("", data) for name, data in files.items()}


def mutations(body: bytes, count: int, random: np.random.Generator) -> Iterator[bytes]:
    """Flipped bits, changed bytes, cuts, doubled and spliced parts of a body."""
    for _ in range(count):
        data = bytearray(body)
        for _ in range(int(random.integers(1, 4))):
            # Half of the changes fall into the first 64 bytes, where headers are.
            place = int(random.integers(0, len(data) if random.random() < 0.5 else min(64, len(data)))) if data else 0
            change = int(random.integers(0, 6))
            if change == 0 and data:
                data[place] ^= 1 << int(random.integers(0, 8))
            elif change == 1 and data:
                data[place] = int(random.integers(0, 256))
            elif change == 2:
                del data[place:]
            elif change == 3:
                del data[place : place + int(random.integers(1, 16))]
            elif change == 4:
                data[place:place] = data[place : place + int(random.integers(1, 64))]
            else:
                splice = SPLICES[int(random.integers(0, len(SPLICES)))]
                data[place : place + len(splice) * int(random.integers(0, 2))] = splice
        changed = bytes(data)
        yield _with_right_sums(changed) if random.random() < 0.5 else changed


def _with_right_sums(data: bytes) -> bytes:
    """A PNG whose check sums are right again, so that the change gets past them; other bytes as they are."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    parts, place = [data[:8]], 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        if place + 12 + length > len(data):
            break
        parts.append(chunk(data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    return b"".join(parts) + data[place:]


def outcome(content_type: str, body: bytes, pool: ThreadPoolExecutor) -> str:
    """Read and decode a body as the service does: "answered", or the status of the problem; all else is raised."""
    try:
        found = read_inputs(content_type, body, INPUT, LIMITS)
        if isinstance(found, list):
            found = asyncio.run(PictureDecoder(RULE, LIMITS, pool).decode(found))
    except Problem as refusal:
        problem = refusal
    else:
        assert found.dtype == np.uint8 and found.shape[1:] == (8, 8, 3) and 1 <= len(found) <= LIMITS.max_images
        return "answered"
    assert 400 <= problem.status < 500, problem
    assert problem.detail.isprintable() and len(problem.detail) < 1000, problem.detail
    return str(problem.status)
