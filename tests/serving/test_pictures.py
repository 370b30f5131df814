from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from input_cases import chunk, encoded, photographs, png
from PIL import Image

from mlstack.datasets.decode import PictureRule
from mlstack.serving.inputs import InputLimits
from mlstack.serving.pictures import SMALL_BYTES, PictureDecoder, PixelBudget
from mlstack.serving.problems import Problem

RULES = [
    PictureRule((24, 24), 27, 3, "crop"),
    PictureRule((24, 24), 24, 1, "pad"),
    PictureRule((20, 30), 20, 3, "stretch"),
]
LIMITS = InputLimits(max_images=8, max_pixels=1_000_000)
PHOTOGRAPHS = photographs()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def decode(pool: ThreadPoolExecutor) -> Callable[..., np.ndarray]:
    """Decode pictures by the first rule."""
    return lambda *pictures: asyncio.run(PictureDecoder(RULES[0], LIMITS, pool).decode(list(pictures)))


def refused(decode: Callable[..., np.ndarray], *pictures: bytes) -> Problem:
    with pytest.raises(Problem) as caught:
        decode(*pictures)
    assert "\n" not in caught.value.detail
    return caught.value


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.resize)
def test_every_photograph_has_the_bytes_that_training_and_prediction_see(
    tmp_path: Path, pool: ThreadPoolExecutor, rule: PictureRule
) -> None:
    paths = [tmp_path / name for name in PHOTOGRAPHS]
    for path in paths:
        path.write_bytes(PHOTOGRAPHS[path.name])
    decoder = PictureDecoder(rule, InputLimits(len(paths), 1_000_000), pool)
    decoded = asyncio.run(decoder.decode(list(PHOTOGRAPHS.values())))
    for path, wanted, found in zip(paths, rule.read(paths), decoded, strict=True):
        assert np.array_equal(found, wanted), path.name


def test_pictures_keep_their_order(decode: Callable[..., np.ndarray]) -> None:
    colours = [(value, 0, 0) for value in range(0, 240, 30)]
    files = [encoded(Image.new("RGB", (300 - 30 * place, 30), colour), "PNG") for place, colour in enumerate(colours)]
    decoded = decode(*files)
    assert decoded.shape == (8, 24, 24, 3)
    assert [tuple(picture[0, 0]) for picture in decoded] == colours


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_a_truncated_picture_is_named_by_its_place(decode: Callable[..., np.ndarray], name: str) -> None:
    whole = PHOTOGRAPHS["plain.jpg"]
    problem = refused(decode, whole, PHOTOGRAPHS[name][: len(PHOTOGRAPHS[name]) // 3], whole)
    assert problem.status == 400 and "picture 2 of 3" in problem.detail


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (b"", 400, "is empty"),
        (b"hello", 415, "not a JPEG, PNG, WebP, BMP or GIF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", 415, "not a JPEG"),
        (encoded(Image.new("L", (5, 5)), "TIFF"), 415, "not a JPEG"),
        (encoded(Image.new("L", (5, 5)), "PPM"), 415, "not a JPEG"),
        (b"\xff\xd8\xff\xe0\0\x02hello", 400, "broken"),
        (b"\x89PNG\r\n\x1a\n", 400, "broken"),
        (b"GIF89a", 400, "cut off inside its header"),
        (b"BM\0\0\0\0\0\0\0\0", 400, "cut off inside its header"),
        (b"RIFF\0\0\0\0WEBPVP8X", 400, "cut off inside its header"),
        (b"RIFF\0\0\0\0WEBPABCD" + bytes(40), 400, "broken"),
        (png(0, 5), 400, "0 × 5 pixels"),
        (png(9, 9), 400, "can't be read"),
        (png(1001, 1000), 413, "1001 × 1000 pixels, 1.0 megapixels: at most 1 are taken"),
        (png(1, 900_000), 400, "no side may be longer than 65535"),
        (png(13000, 13000), 413, "169.0 megapixels"),
        (png(13000, 13000, interlaced=True), 413, "169.0 megapixels"),
        (png(2**31 - 1, 2**31 - 1), 413, "pixels"),
        (b"GIF89a" + struct.pack("<HHB", 65535, 65535, 0) + b"\0\0," + bytes(50), 413, "65535 × 65535"),
        (b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 90000, -90000, 1, 24, 0), 413, "90000 × 90000"),
        (b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 40000, 1, 1, 8, 1), 400, "compressed BMP"),
        (b"RIFF\0\0\0\0WEBPVP8X" + bytes(8) + b"\xff" * 6, 413, "16777216 × 16777216"),
        (b"RIFF\0\0\0\0WEBPVP8L" + bytes(5) + b"\xff" * 4, 413, "16384 × 16384"),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(10) + b"\xff" * 4, 413, "16383 × 16383"),
        (PHOTOGRAPHS["progressive.jpg"] + b"\xff\xda" * 200, 400, "more than 100 scans"),
    ],
)
def test_what_cannot_be_decoded_is_refused_by_its_header(
    decode: Callable[..., np.ndarray], data: bytes, status: int, said: str
) -> None:
    problem = refused(decode, data)
    assert problem.status == status and said in problem.detail


def test_a_jpeg_of_too_many_pixels_is_refused_by_its_header(decode: Callable[..., np.ndarray]) -> None:
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "JPEG"))
    place = data.index(b"\xff\xc0")
    data[place + 5 : place + 9] = struct.pack(">HH", 60000, 60000)
    problem = refused(decode, bytes(data))
    assert problem.status == 413 and "60000 × 60000" in problem.detail


def test_a_gif_whose_frame_outgrows_its_header_is_refused(decode: Callable[..., np.ndarray]) -> None:
    data = bytearray(PHOTOGRAPHS["moving.gif"])
    data[6:10] = struct.pack("<HH", 4, 4)
    place = data.index(b"\x2c\0\0\0\0")
    data[place + 5 : place + 9] = struct.pack("<HH", 2000, 2000)
    problem = refused(decode, bytes(data))
    assert problem.status == 413 and "2000 × 2000" in problem.detail


def test_texts_and_profiles_that_unpack_to_much_cost_little(decode: Callable[..., np.ndarray]) -> None:
    packed = zlib.compress(bytes(20 << 20), 9)
    pixels = b"".join(b"\0" + bytes(30) for _ in range(30))
    for packs in (chunk(b"iCCP", b"name\0\0" + packed), chunk(b"zTXt", b"name\0\0" + packed)):
        assert "too large" in refused(decode, png(30, 30, pixels, before=packs)).detail
        assert refused(decode, png(30, 30, pixels, before=packs * 9)).status == 400


def gif(before: bytes) -> bytes:
    """A GIF with something between its colours and its first frame."""
    data = encoded(Image.new("L", (8, 8)), "GIF")
    start = 13 + (3 << (data[10] & 7) + 1)
    return data[:start] + before + data[start:]


def test_a_file_of_nothing_but_blocks_is_refused_before_pillow_walks_through_it(
    decode: Callable[..., np.ndarray],
) -> None:
    jpeg = PHOTOGRAPHS["turned.jpg"]
    many = {
        "jpeg": jpeg[:2] + b"\xff\xfe\0\x02" * 200_000 + jpeg[2:],
        "filled jpeg": jpeg[:2] + b"\xff" * 2_000_000 + jpeg[2:],
        "png": png(8, 8, bytes(72), before=chunk(b"tEXt", b"") * 200_000),
        "gif": gif(b"\x21\xfe\x01a\0" * 200_000),
        "long gif": gif(b"\x21\xfe" + (b"\xff" + bytes(255)) * 50_000 + b"\0"),
        "gif of nothing": gif(bytes(200_000)),
    }
    for name, data in many.items():
        assert "has more than 20000 blocks" in refused(decode, data).detail, name
    few = jpeg[:2] + b"\xff\xfe\0\x02" * 100 + b"\xff" * 9 + jpeg[2:]
    assert np.array_equal(decode(few), decode(jpeg))
    assert np.array_equal(decode(gif(b"\x21\xfe\x01a\0" * 100)), decode(gif(b"")))


def test_more_pictures_than_allowed_are_refused(decode: Callable[..., np.ndarray]) -> None:
    assert refused(decode, *[b"x"] * 9).status == 413


def test_bombs_cost_no_memory(tmp_path: Path) -> None:
    """In a process of its own, whose greatest memory is its own too."""
    # The whole picture would be 169 MB, as RGBX 676 MB; a decoder makes room for it before it misses the last rows.
    (tmp_path / "bomb.png").write_bytes(png(13000, 13000, bytes(13001 * 1000)))
    program = f"""
import asyncio, resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from mlstack.datasets.decode import PictureRule
from mlstack.serving.inputs import InputLimits
from mlstack.serving.pictures import PictureDecoder
from mlstack.serving.problems import Problem

data = Path({str(tmp_path / "bomb.png")!r}).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(2) as pool:
    decoder = PictureDecoder(PictureRule((8, 8), 8, 3, "crop"), InputLimits(8, 40_000_000), pool)
    for _ in range(50):
        try:
            asyncio.run(decoder.decode([data] * 4))
        except Problem as problem:
            assert problem.status == 413, problem
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert int(grown) < 8 << 10  # KiB


def test_work_that_has_not_begun_is_dropped_when_a_request_goes_away() -> None:
    begun, free, seen = threading.Event(), threading.Event(), []

    class Slow(PictureDecoder):
        def decode_small(self, data: bytes, name: str = "the picture") -> np.ndarray | None:
            begun.set()
            assert free.wait(10)
            seen.append(name)
            return super().decode_small(data, name)

    async def main(pool: ThreadPoolExecutor) -> None:
        request = asyncio.create_task(Slow(RULES[0], LIMITS, pool).decode([PHOTOGRAPHS["plain.jpg"]] * 3))
        await asyncio.to_thread(begun.wait)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        free.set()

    with ThreadPoolExecutor(1) as pool:
        asyncio.run(main(pool))
    assert seen == ["picture 1 of 3"]


def test_a_large_picture_keeps_no_model_waiting() -> None:
    small, many_bytes, many_pixels = (
        encoded(Image.new("RGB", (1000, 1000)), "PNG"),
        encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)), "PNG"),
        encoded(Image.new("RGB", (1100, 1000)), "PNG"),
    )
    assert len(many_bytes) > SMALL_BYTES > len(many_pixels)
    decoded_by = []

    class Watched(PictureDecoder):
        def _read(self, data: bytes, name: str) -> np.ndarray:
            decoded_by.append(threading.current_thread().name)
            return super()._read(data, name)

    with ThreadPoolExecutor(1, "worker") as workers, ThreadPoolExecutor(1, "pool") as pool:
        decoder = Watched(RULES[0], InputLimits(8, 2_000_000), workers, pool, PixelBudget(1))
        for picture in (small, many_bytes, many_pixels):
            assert asyncio.run(decoder.decode([picture])).shape == (1, 24, 24, 3)
    assert decoded_by == ["worker_0", "pool_0", "pool_0"]


def test_no_more_pixels_are_decoded_at_once_than_the_budget_has() -> None:
    budget = PixelBudget(10)
    taken, most, lock = 0, 0, threading.Lock()

    def work(pixels: int) -> None:
        nonlocal taken, most
        for _ in range(50):
            with budget.take(pixels):
                with lock:
                    taken += pixels
                    most = max(most, taken if taken != 30 else 0)
                with lock:
                    taken -= pixels

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, [4, 5, 6, 30]))
    assert most <= 10


def test_what_fits_into_the_budget_is_decoded_beside_and_what_does_not_waits_for_room() -> None:
    budget, end = PixelBudget(10), threading.Event()

    def take(pixels: int) -> threading.Event:
        inside = threading.Event()

        def hold() -> None:
            with budget.take(pixels):
                inside.set()
                assert end.wait(10)

        threads.append(threading.Thread(target=hold))
        threads[-1].start()
        return inside

    threads: list[threading.Thread] = []
    with budget.take(4):
        assert take(6).wait(10)
        late = take(1)
        assert not late.wait(0.05)
    assert late.wait(10)
    end.set()
    for thread in threads:
        thread.join(10)
    assert budget._taken == 0
