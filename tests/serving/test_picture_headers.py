"""Headers that are written byte by byte: sizes of all five formats, and the last size, block and scan that is taken."""

from __future__ import annotations

import struct

import pytest

from mlstack.serving.picture_headers import Header, format_of, read_header

WIDE, HIGH = 300, 7
FRAMES = [marker for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC)]


def segment(marker: int, content: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def jpeg(width: int = WIDE, height: int = HIGH, *, frame: int = 0xC0, before: bytes = b"", after: bytes = b"") -> bytes:
    size = segment(frame, struct.pack(">BHHB", 8, height, width, 0))
    return b"\xff\xd8" + before + size + segment(0xDA) + after


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + name + content + bytes(4)


def png(width: int = WIDE, height: int = HIGH, *, after: bytes = b"") -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIB", width, height, 8)) + after


def gif(
    width: int = WIDE, height: int = HIGH, *, flags: int = 0, before: bytes = b"", frame: tuple[int, ...] = (0, 0, 1, 1)
) -> bytes:
    table = bytes(3 * 2 ** ((flags & 7) + 1)) if flags & 0x80 else b""
    screen = b"GIF89a" + struct.pack("<HHB", width, height, flags) + b"\0\0" + table
    return screen + before + b"\x2c" + struct.pack("<HHHH", *frame)


def bmp(width: int = WIDE, height: int = HIGH, *, compression: int = 0) -> bytes:
    return b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, width, height, 1, 24, compression)


def core_bmp(width: int = WIDE, height: int = HIGH) -> bytes:
    return b"BM" + bytes(12) + struct.pack("<IHH", 12, width, height)


def webp(kind: bytes, content: bytes) -> bytes:
    return b"RIFF" + bytes(4) + b"WEBP" + kind + bytes(4) + content


def extended_webp(width: int = WIDE, height: int = HIGH) -> bytes:
    sides = ((width - 1).to_bytes(3, "little"), (height - 1).to_bytes(3, "little"))
    return webp(b"VP8X", bytes(4) + b"".join(sides))


def lossless_webp(width: int = WIDE, height: int = HIGH) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | (height - 1) << 14 | 1 << 28))


def lossy_webp(width: int = WIDE, height: int = HIGH) -> bytes:
    return webp(b"VP8 ", bytes(6) + struct.pack("<HH", width | 1 << 14, height | 1 << 15))


WRITERS = {
    "JPEG": jpeg,
    "PNG": png,
    "GIF": gif,
    "BMP": bmp,
    "BMP ": core_bmp,
    "WEBP": extended_webp,
    "WEBP ": lossless_webp,
    "WEBP  ": lossy_webp,
}


def refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_header(data)


@pytest.mark.parametrize("name", WRITERS)
def test_a_header_says_format_width_and_height(name: str) -> None:
    for width, height in ((WIDE, HIGH), (HIGH, WIDE), (1, 1), (16383, 16383)):
        data = WRITERS[name](width, height)
        assert format_of(data) == name.strip()
        assert read_header(data) == Header(name.strip(), width, height)
        assert read_header(data).pixels == width * height
    sizes_end = {"JPEG": len(data) - 5, "PNG": 24}.get(name, len(data))
    for end in range(12, sizes_end):
        with pytest.raises(ValueError, match=r"is cut off inside its header|is a broken"):
            read_header(data[:end])


def test_large_sides_of_an_extended_webp_are_read_whole() -> None:
    assert read_header(extended_webp(65535, 65530))[1:] == (65535, 65530)
    assert read_header(extended_webp(0x20001, 0x30002))[1:] == (0x20001, 0x30002)


def test_a_side_may_be_65535_long_and_a_longer_one_only_in_a_picture_that_is_too_large_anyway() -> None:
    assert read_header(png(65535, 1))[1:] == (65535, 1)
    assert read_header(png(1, 65535))[1:] == (1, 65535)
    refused(png(65536, 65534), "65536 × 65534 pixels: no side may be longer than 65535")
    refused(png(1, 65536), "1 × 65536 pixels: no side")
    assert read_header(png(65536, 65535)).pixels > 2**31


def test_a_picture_without_pixels_is_refused() -> None:
    refused(png(0, 5), "has 0 × 5 pixels")
    refused(png(5, 0), "has 5 × 0 pixels")
    refused(bmp(-1, 5), "has -1 × 5 pixels")
    assert read_header(bmp(5, -4))[1:] == (5, 4)  # its rows come from above


@pytest.mark.parametrize("frame", FRAMES)
def test_each_frame_marker_of_a_jpeg_holds_the_size(frame: int) -> None:
    other = b"".join(segment(marker, bytes(9)) for marker in (0xC4, 0xC8, 0xCC, 0xE0, 0xD0 - 0x11, 0xFE))
    assert read_header(jpeg(frame=frame, before=other + b"stray"))[1:] == (WIDE, HIGH)


def test_a_jpeg_whose_pixels_come_before_its_size_is_broken() -> None:
    refused(b"\xff\xd8" + segment(0xDA) + bytes(50), "broken JPEG")
    assert read_header(b"\xff\xd8" + segment(0xDA) + jpeg()[2:])[1:] == (WIDE, HIGH)


@pytest.mark.parametrize("frame", FRAMES)
def test_a_progressive_jpeg_may_have_100_scans_and_a_baseline_one_any_number(frame: int) -> None:
    assert read_header(jpeg(frame=frame, after=segment(0xDA) * 99))[1:] == (WIDE, HIGH)
    more = jpeg(frame=frame, after=segment(0xDA) * 100)
    if frame in (0xC0, 0xC1):
        assert read_header(more)[1:] == (WIDE, HIGH)
    else:
        refused(more, "more than 100 scans")


def test_of_20000_blocks_of_a_jpeg_the_last_may_be_its_pixels() -> None:
    for block in (segment(0xE0), b"s"):  # decoders look at stray bytes one by one
        before = segment(0xE0) + block * 19_997
        assert read_header(jpeg(before=before))[1:] == (WIDE, HIGH)
        refused(jpeg(before=before + block), "more than 20000 blocks")


def test_a_png_has_fewer_than_20000_blocks_and_four_colour_profiles_at_most() -> None:
    assert read_header(png(after=chunk(b"tEXt") * 19_998))[1:] == (WIDE, HIGH)
    refused(png(after=chunk(b"tEXt") * 19_999), "more than 20000 blocks")
    assert read_header(png(after=chunk(b"iCCP", b"p") * 4))[1:] == (WIDE, HIGH)
    refused(png(after=chunk(b"iCCP", b"p") * 5), "several colour profiles")
    refused(png().replace(b"IHDR", b"IDAT"), "broken PNG")


def test_a_gif_has_fewer_than_20000_blocks() -> None:
    assert read_header(gif(before=b"\x21\xf9" + b"\x01x" * 19_997 + b"\0"))[1:] == (WIDE, HIGH)
    refused(gif(before=b"\x21\xf9" + b"\x01x" * 19_998 + b"\0"), "more than 20000 blocks")
    assert read_header(gif(before=b"\x21\xf9\0" * 9_999))[1:] == (WIDE, HIGH)
    refused(gif(before=b"\x21\xf9\0" * 10_000), "more than 20000 blocks")
    assert read_header(gif(before=b"\0" * 19_999))[1:] == (WIDE, HIGH)
    refused(gif(before=b"\0" * 20_000), "more than 20000 blocks")


@pytest.mark.parametrize("flags", [0, 7, 0x80, 0x83, 0x87])
def test_a_gif_is_read_behind_its_colour_table(flags: int) -> None:
    assert read_header(gif(flags=flags, before=b"\x21\xfe\x03abc\x02de\0"))[1:] == (WIDE, HIGH)


def test_a_gif_is_as_large_as_its_screen_and_its_first_frame_together() -> None:
    assert read_header(gif(20, 10, frame=(4, 5, 16, 5)))[1:] == (20, 10)
    assert read_header(gif(20, 10, frame=(4, 5, 17, 6)))[1:] == (21, 11)


@pytest.mark.parametrize("compression", range(5))
def test_a_bmp_is_taken_without_run_lengths(compression: int) -> None:
    if compression in (0, 3):
        assert read_header(bmp(compression=compression))[1:] == (WIDE, HIGH)
    else:
        refused(bmp(compression=compression), "compressed BMP")


def test_what_is_none_of_the_five_is_no_picture() -> None:
    for data in (b"", b"GIF88a", b"II*\0", b"RIFF....WAVE", b"P6 1 1 255\n"):
        with pytest.raises(LookupError, match="is not a JPEG, PNG, WebP, BMP or GIF"):
            read_header(data)
    refused(webp(b"VP9 ", bytes(20)), "broken WebP")
