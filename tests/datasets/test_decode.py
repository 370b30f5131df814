from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from mlstack.datasets.decode import Accepted, PictureRule, decode_file, decoded_side, read_images, unreadable
from mlstack.errors import DataError


def pillow(path: Path, *, side: int, mode: str = "RGB") -> np.ndarray:
    """The whole picture, stretched, by Pillow alone."""
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened).convert(mode)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR)).reshape(side, side, -1).astype(int)


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tif", "gif"])
@pytest.mark.parametrize("size", [(40, 30), (30, 40), (300, 200), (33, 33)])
def test_a_picture_looks_as_pillow_shows_it(tmp_path: Path, make: Any, suffix: str, size: tuple[int, int]) -> None:
    path = make.image(tmp_path / f"picture.{suffix}", size=size)
    ours = decode_file(path, side=32, channels=3, resize="stretch").astype(int)
    assert np.abs(ours - pillow(path, side=32)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation_is_respected(tmp_path: Path, make: Any, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = make.image(tmp_path / f"turned.{suffix}", size=(64, 64), exif=exif)
    ours = decode_file(path, side=64, channels=3, resize="stretch").astype(int)
    assert np.abs(ours - pillow(path, side=64)).mean() < 3


def test_cmyk_grey_and_palette_become_rgb_and_grey(tmp_path: Path, make: Any) -> None:
    for name, mode in (("cmyk.jpg", "CMYK"), ("grey.jpg", "L"), ("palette.png", "P"), ("bits.png", "1")):
        path = make.image(tmp_path / name, size=(30, 30), mode=mode)
        for channels, other in ((3, "RGB"), (1, "L")):
            ours = decode_file(path, side=30, channels=channels, resize="stretch")
            assert ours.shape == (30, 30, channels)
            assert np.abs(ours.astype(int) - pillow(path, side=30, mode=other)).mean() < 12


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    clear = np.zeros((10, 10, 4), np.uint8)
    clear[:, 5:] = (200, 0, 0, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    ours = decode_file(tmp_path / "clear.png", side=10, channels=3, resize="stretch")
    assert (ours[:, :5] == 255).all()
    assert (ours[:, 5:] == (200, 0, 0)).all()


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    values = np.arange(100, dtype=np.uint16).reshape(10, 10) * 650
    Image.fromarray(values).save(tmp_path / "deep.png")
    ours = decode_file(tmp_path / "deep.png", side=10, channels=1, resize="stretch")[..., 0]
    assert np.array_equal(ours, values // 257)
    Image.fromarray(np.full((10, 10), 65535, np.uint16)).save(tmp_path / "white.png")
    assert (decode_file(tmp_path / "white.png", side=10, channels=1, resize="stretch") == 255).all()


def test_crop_keeps_the_centre_pad_keeps_everything_stretch_fills(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    crop, pad, stretch = (
        decode_file(tmp_path / "wide.png", side=30, channels=1, resize=rule)[..., 0]
        for rule in ("crop", "pad", "stretch")
    )
    assert crop[1:-1, 1:-1].min() == 255
    assert pad[:10].max() == 0 and pad[20:].max() == 0 and pad[15, 15] == 255 and pad[15, 2] == 0
    assert stretch[:, 2].max() == 0 and stretch[:, 15].min() == 255


@pytest.mark.parametrize(
    ("size", "place"),
    [
        ((60, 20), (10, 0, 10, 30)),
        ((20, 60), (0, 10, 30, 10)),
        ((45, 30), (5, 0, 20, 30)),
        ((30, 40), (0, 4, 30, 22)),  # 22.5 columns, and as many on either side
        ((40, 30), (4, 0, 22, 30)),
        ((7, 13), (0, 7, 30, 16)),
        ((30, 30), (0, 0, 30, 30)),
        ((100, 1), (14, 0, 1, 30)),  # a row at least
        ((1, 100), (0, 14, 30, 1)),
    ],
)
def test_pad_keeps_a_picture_s_shape_and_puts_it_into_the_middle(
    tmp_path: Path, size: tuple[int, int], place: tuple[int, ...]
) -> None:
    Image.new("L", size, 255).save(tmp_path / "white.png")
    padded = decode_file(tmp_path / "white.png", side=30, channels=1, resize="pad")[..., 0]
    rows, columns = np.flatnonzero(padded.any(axis=1)), np.flatnonzero(padded.any(axis=0))
    top, left, height, width = place
    assert (rows[0], columns[0], len(rows), len(columns)) == (top, left, height, width)
    assert padded[top : top + height, left : left + width].min() == 255


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (4000, 3), (2, 2)])
@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
def test_odd_shapes_are_decoded(tmp_path: Path, make: Any, size: tuple[int, int], resize: str) -> None:
    for suffix in ("png", "jpg"):
        path = make.image(tmp_path / f"odd.{suffix}", size=size)
        assert decode_file(path, side=9, channels=3, resize=resize).shape == (9, 9, 3)


def test_large_jpegs_are_decoded_scaled_down_and_look_the_same(tmp_path: Path, make: Any) -> None:
    path = make.image(tmp_path / "large.jpg", size=(1600, 1201), quality=95)
    ours = decode_file(path, side=64, channels=3, resize="stretch").astype(int)
    assert np.abs(ours - pillow(path, side=64)).mean() < 2


def test_fine_patterns_are_averaged_rather_than_sampled(tmp_path: Path) -> None:
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "board.png")
    ours = decode_file(tmp_path / "board.png", side=32, channels=1, resize="stretch").astype(int)
    assert np.abs(ours - 127).max() <= 1


@pytest.mark.parametrize("resize", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_window_has_the_bytes_of_the_whole(tmp_path: Path, make: Any, resize: str, channels: int) -> None:
    path = make.image(tmp_path / "picture.jpg", size=(300, 200))
    whole = decode_file(path, side=90, channels=channels, resize=resize)
    for window in ((slice(0, 90), slice(0, 1)), (slice(7, 80), slice(40, 90)), (slice(89, 90), slice(3, 50))):
        part = decode_file(path, side=90, channels=channels, resize=resize, window=window)
        assert np.array_equal(part, whole[window])


def bomb() -> bytes:
    """A PNG whose header claims 30000 × 30000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def broken_files(folder: Path, make: Any) -> dict[str, Path]:
    whole = make.image(folder / "whole.jpg", size=(300, 200)).read_bytes()
    contents = {
        "cut.jpg": whole[: len(whole) // 2],
        "text.jpg": b"this is not a picture",
        "empty.png": b"",
        "bomb.png": bomb(),
        "half.png": make.image(folder / "whole.png").read_bytes()[:200],
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in (*contents, "missing.jpg")}


def test_every_broken_file_is_refused_by_name(tmp_path: Path, make: Any) -> None:
    broken = broken_files(tmp_path, make)
    for name, path in broken.items():
        with pytest.raises(DataError, match=name) as caught:
            decode_file(path, side=8, channels=3, resize="crop")
        assert len(str(caught.value).splitlines()) == 1
    found = unreadable([tmp_path / "whole.jpg", *broken.values()])
    assert set(found) == {str(path) for path in broken.values()}
    assert found[str(broken["missing.jpg"])] == "no such file"
    assert found[str(broken["text.jpg"])] == "not an image"


def test_prediction_sees_the_centre_of_the_decoded_picture(tmp_path: Path, make: Any) -> None:
    paths = [make.image(tmp_path / f"{index}.jpg", seed=index, size=(90, 70)) for index in range(5)]
    pictures = read_images(paths, size=56, side=64, channels=3, resize="crop")
    assert pictures.shape == (5, 56, 56, 3)
    for path, picture in zip(paths, pictures, strict=True):
        whole = decode_file(path, side=decoded_side(56, "crop"), channels=3, resize="crop")
        assert np.array_equal(picture, whole[4:60, 4:60])


def test_decoding_reads_bytes_only_once_from_a_path_of_any_alphabet(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    path = tmp_path / "照片 (1)=~.png"
    path.write_bytes(buffer.getvalue())
    assert (decode_file(path, side=8, channels=3, resize="stretch") == (255, 0, 0)).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("resize", "size"), [("crop", 56), ("pad", (56, 56)), ("stretch", (40, 60))])
def test_a_picture_in_memory_has_the_bytes_of_its_file(
    tmp_path: Path, make: Any, resize: str, size: Any, channels: int
) -> None:
    side = 64 if resize == "crop" else 56
    rule = PictureRule(size, side, channels, resize)
    for name in ("a.jpg", "b.png", "c.webp", "d.gif"):
        path = make.image(tmp_path / name, size=(300, 200))
        assert np.array_equal(rule.read_bytes(path.read_bytes()), rule.read([path])[0]), name


def test_a_picture_in_memory_is_refused_with_the_reason_alone(tmp_path: Path, make: Any) -> None:
    rule = PictureRule(8, 8, 3, "stretch")
    data = make.image(tmp_path / "a.png", size=(30, 20)).read_bytes()
    for wrong, accepted, reason in (
        (b"hello", Accepted(), "not an image"),
        (data, Accepted(formats=("JPEG",)), "not an image"),
        (data, Accepted(max_pixels=599), "30 × 20 pixels, more than 0 megapixels"),
    ):
        with pytest.raises(DataError) as caught:
            rule.read_bytes(wrong, accepted)
        assert caught.value.message == reason
    assert rule.read_bytes(data, Accepted(("PNG",), 600)).shape == (8, 8, 3)
