"""From an image file to a square of uint8: one rule for training, evaluation, prediction and the decoded cache.

    resize=crop      the centre square, resampled to data.decoded_size (8/7 of the input's size: 256 for 224);
                     evaluation sees its centre
    resize=stretch   the whole picture, resampled to the input's size, its proportions lost
    resize=pad       the whole picture, its longer side resampled to the input's size, black beside it

Orientation in EXIF is respected, transparency lies on white, CMYK, palettes and 16 bits become 8-bit grey or RGB.
JPEGs are decoded at 1/2, 1/4 or 1/8 of their size where that is still enough; what is left is below 2 ×, bilinear.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mlstack.datasets.resample import Box, Window, bilinear, shrink
from mlstack.errors import DataError

MAX_PIXELS = 178_956_970  # where Pillow too calls a picture a decompression bomb: 2 · 1024³ / 4 / 3
CROP_RATIO = 8 / 7  # 256 to 224, the ratio of the ImageNet literature
EXIF_ORIENTATION = 0x0112
HEADER_BYTES = 65536  # an EXIF block lies before this
Bomb = Image.DecompressionBombError
# What Pillow raises for broken files; from TypeError on, out of damaged chunks and tables.
UNREADABLE = (OSError, ValueError, SyntaxError, Bomb, TypeError, LookupError, EOFError, struct.error)

Size = int | tuple[int, int]  # of a square, or height and width; in pixels


class Accepted(NamedTuple):
    """Which pictures are decoded at all: Pillow's names of formats (None = all), and the most pixels."""

    formats: tuple[str, ...] | None = None
    max_pixels: int = MAX_PIXELS


ANY = Accepted()


@dataclass(frozen=True)
class PictureRule:
    """How a picture becomes a network's input; arguments as for `read_images`."""

    size: Size
    side: int
    channels: int
    resize: str

    def read(self, paths: Sequence[str | Path]) -> NDArray[np.uint8]:
        """Files as `read_images` returns them."""
        return read_images(paths, size=self.size, side=self.side, channels=self.channels, resize=self.resize)

    def read_bytes(self, data: bytes, accepted: Accepted = ANY) -> NDArray[np.uint8]:
        """What `read` returns for a file of these bytes, uint8 [height, width, channel]; a DataError says why not."""
        side = _height_and_width(_decoded(self.size, self.side, self.resize))
        window = _centre(side, _height_and_width(self.size))
        try:
            return _decode(data, side, self.channels, self.resize, accepted, window)
        except UNREADABLE as error:
            raise DataError(_reason(error)) from error

    def prepare(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """One picture in memory, uint8 [h, w, 3], as `prepare_pixels` returns it."""
        return prepare_pixels(pixels, size=self.size, side=self.side, channels=self.channels, resize=self.resize)


def decoded_side(image_size: int, resize: str) -> int:
    """Height and width of a decoded picture for a network's input of `image_size` pixels."""
    return round(image_size * CROP_RATIO) if resize == "crop" else image_size


def decode_file(
    path: str | Path, *, side: Size, channels: int, resize: str, window: Window | None = None
) -> NDArray[np.uint8]:
    """Decode one image file.

    Args:
        path: The file.
        side: Height and width of the result, in pixels; a square with `crop`.
        channels: 1 or 3.
        resize: The rule.
        window: Compute these rows and columns of the result only: less work for the same bytes.

    Returns:
        uint8 [height, width, channel], or the window of it.

    Raises:
        DataError: The file is missing, not an image, broken, or a decompression bomb; it names the file.
    """
    try:
        return _decode(Path(path).read_bytes(), _height_and_width(side), channels, resize, ANY, window)
    except UNREADABLE as error:
        raise DataError(f"{path} can't be read: {_reason(error)}") from error


def read_images(paths: Sequence[str | Path], *, size: Size, side: int, channels: int, resize: str) -> NDArray[np.uint8]:
    """The pictures that evaluation shows to the network: decoded in threads, then cropped to the centre.

    Args:
        paths: The files.
        size: Height and width of the network's input, in pixels.
        side: Height and width after decoding, at least `size`: `Images.side` of the pictures it was trained on.
        channels: 1 or 3.
        resize: The rule.

    Returns:
        uint8 [n, height, width, channel]

    Raises:
        DataError: It names the first file that can't be read; `unreadable` finds all of them.
    """
    height, width = _height_and_width(size)
    decoded = _decoded(size, side, resize)
    window = _centre(_height_and_width(decoded), (height, width))
    pictures = np.empty((len(paths), height, width, channels), np.uint8)

    def read(row: int) -> None:
        pictures[row] = decode_file(paths[row], side=decoded, channels=channels, resize=resize, window=window)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(read, range(len(paths))))
    return pictures


def prepare_pixels(
    pixels: NDArray[np.uint8], *, size: Size, side: int, channels: int, resize: str
) -> NDArray[np.uint8]:
    """A picture that is in memory already, by the very rule that files go by.

    Args:
        pixels: uint8 [h, w, 3], RGB.
        size: As for `read_images`, and so are the others.
        side: See there.
        channels: 1 or 3.
        resize: The rule.

    Returns:
        uint8 [height, width, channel]: the bytes that `read_images` would return for a lossless file of these pixels.
    """
    rows, columns = _height_and_width(_decoded(size, side, resize))
    picture = _as_array(Image.fromarray(pixels), channels)
    window = _centre((rows, columns), _height_and_width(size))
    return _fit(picture, height=rows, width=columns, channels=channels, resize=resize, window=window)


def _height_and_width(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _decoded(size: Size, side: int, resize: str) -> Size:
    """What to decode to: the square whose middle is cut out, or at once an input that is no square."""
    height, width = _height_and_width(size)
    return side if height == width or resize == "crop" else (height, width)


def _centre(outer: Sequence[int], inner: Sequence[int]) -> Window:
    top, left = (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2
    return slice(top, top + inner[0]), slice(left, left + inner[1])


def unreadable(paths: Sequence[str | Path]) -> dict[str, str]:
    """Decode each file in full; the ones that fail, each with its reason in a few words."""

    def check(path: str | Path) -> str:
        try:
            decode_file(path, side=8, channels=3, resize="stretch")
        except DataError as error:
            return error.message.split("can't be read: ", 1)[-1]
        return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reasons = list(pool.map(check, paths))
    return {str(path): reason for path, reason in zip(paths, reasons, strict=True) if reason}


def _decode(
    data: bytes, side: tuple[int, int], channels: int, resize: str, accepted: Accepted, window: Window | None = None
) -> NDArray[np.uint8]:
    """An encoded picture to uint8 [height, width, channel]; `side` = height and width. Raises one of `UNREADABLE`."""
    height, width = side
    jpeg = _jpeg(data, side, channels, resize, accepted.max_pixels) if data[:2] == b"\xff\xd8" else None
    picture = _by_pillow(data, channels, accepted) if jpeg is None else jpeg
    return _fit(picture, height=height, width=width, channels=channels, resize=resize, window=window)


def _by_pillow(data: bytes, channels: int, accepted: Accepted) -> NDArray[np.uint8]:
    """Decode to uint8 [height, width, 1 or 4], upright; the fourth channel is without meaning."""
    with Image.open(io.BytesIO(data), formats=accepted.formats) as image:
        _refuse_bomb(image.width, image.height, accepted.max_pixels)
        orientation = int(image.getexif().get(EXIF_ORIENTATION, 1))
        return _turn(_as_array(_eight_bits(image), channels), orientation)


def _jpeg(data: bytes, side: tuple[int, int], channels: int, resize: str, max_pixels: int) -> NDArray[np.uint8] | None:
    """Decode a JPEG, scaled down where that is enough; None = leave it to Pillow (CMYK, or slightly damaged)."""
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        _refuse_bomb(width, height, max_pixels)
        if space in ("CMYK", "YCCK"):
            return None
        reductions = (height / side[0], width / side[1])
        reduction = max(reductions) if resize == "pad" else min(reductions)
        scale = next((scale for scale in (8, 4, 2) if reduction >= scale), 1)  # the scales with vector code
        picture: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data,
            "GRAY" if channels == 1 else "RGBX",
            fastupsample=True,
            min_height=-(-height // scale),
            min_width=-(-width // scale),
        )
    except ValueError:
        return None
    return _turn(picture, _orientation(data))


def _orientation(data: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 = upright. Pillow is asked only where there is EXIF at all."""
    if b"Exif\0\0" not in data[:HEADER_BYTES]:
        return 1
    with Image.open(io.BytesIO(data)) as image:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))


def _turn(picture: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation: mirror for 2, 4, 5, 7; then quarter turns."""
    if orientation in (2, 4, 5, 7):
        picture = picture[:, ::-1]
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)  # anticlockwise
    return np.rot90(picture, turns)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey becomes 8-bit grey; other modes pass."""
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    values = values // 257 if values.max(initial=0) > 255 else values
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _as_array(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    """Any mode to uint8 [height, width, 1 or 4], transparency on white."""
    if "A" in image.getbands() or "transparency" in image.info:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if channels == 1:
        return np.asarray(image.convert("L"))[:, :, None]
    return np.asarray((image if image.mode == "RGB" else image.convert("RGB")).convert("RGBX"))


def _fit(
    picture: NDArray[np.uint8], *, height: int, width: int, channels: int, resize: str, window: Window | None
) -> NDArray[np.uint8]:
    """uint8 [h, w, 1 or 4] → uint8 [height, width, channel] by one of the three rules; `crop` makes squares."""
    high, wide = picture.shape[:2]
    rows, columns = height, width
    box: Box = (0.0, 0.0, wide, high)
    if resize == "crop":
        edge = min(high, wide)
        box = ((wide - edge) / 2, (high - edge) / 2, edge, edge)
    elif resize == "pad" and high * width >= wide * height:
        columns = max(1, round(wide * height / high))
    elif resize == "pad":
        rows = max(1, round(high * width / wide))
    picture, box = shrink(picture, box, height=rows, width=columns)
    if (rows, columns) == (height, width):
        return bilinear(picture, box, height=rows, width=columns, channels=channels, window=window)
    resampled = bilinear(picture, box, height=rows, width=columns, channels=channels)
    padded = np.zeros((height, width, channels), np.uint8)
    top, left = (height - rows) // 2, (width - columns) // 2
    padded[top : top + rows, left : left + columns] = resampled
    return padded if window is None else padded[window]


def _refuse_bomb(width: int, height: int, limit: int) -> None:
    if width * height > limit:
        raise Bomb(f"{width} × {height} pixels, more than {limit / 1e6:.0f} megapixels")


def _reason(error: Exception) -> str:
    """Why, in a few words: without the addresses of objects that Pillow puts into its messages."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return (getattr(error, "strerror", None) or str(error) or "it is broken").splitlines()[0]
