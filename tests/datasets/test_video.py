from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mlstack.datasets.decode import PictureRule, decoded_side
from mlstack.datasets.video import Frame, Video, video_among
from mlstack.errors import DataError, MissingPackageError

RATE, COUNT, WIDTH, HEIGHT = 10.0, 25, 64, 48


def write_video(path: Path, *, count: int = COUNT, code: str = "mp4v") -> Path:
    """Red above, grey below; the grey is ten times the number of the frame."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), RATE, (WIDTH, HEIGHT))
    for number in range(count):
        picture = np.full((HEIGHT, WIDTH, 3), number * 10, np.uint8)
        picture[: HEIGHT // 2] = (0, 0, 255)  # OpenCV's order is BGR
        writer.write(picture)
    writer.release()
    return path


@pytest.fixture(scope="module", params=["mp4v", "MJPG"])
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    suffix = {"mp4v": ".mp4", "MJPG": ".AVI"}[request.param]
    return write_video(tmp_path_factory.mktemp("film") / f"film{suffix}", code=request.param)


def frames_of(path: Path, **settings: int | None) -> list[Frame]:
    with Video(str(path)) as video:
        return list(video.frames(**settings))  # type: ignore[arg-type]


def test_frames_come_in_their_order_with_number_time_and_colours(film: Path) -> None:
    frames = frames_of(film)
    assert [frame.number for frame in frames] == list(range(COUNT))
    assert [frame.seconds for frame in frames] == pytest.approx(np.arange(COUNT) / RATE, abs=1e-3)
    for frame in frames:
        assert (frame.pixels.shape, frame.pixels.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
        np.testing.assert_allclose(frame.pixels[4, 4], (254, 0, 0), atol=12)
        np.testing.assert_allclose(frame.pixels[-4, -4], frame.number * 10, atol=12)


@pytest.mark.parametrize(("every", "most", "numbers"), [(10, None, [0, 10, 20]), (1, 3, [0, 1, 2]), (7, 2, [0, 7])])
def test_some_frames_are_passed_over(every: int, most: int | None, numbers: list[int], film: Path) -> None:
    frames = frames_of(film, every=every, most=most)
    assert [frame.number for frame in frames] == numbers
    np.testing.assert_allclose([frame.pixels[-4, -4, 0] for frame in frames], np.array(numbers) * 10, atol=12)


def test_a_film_says_how_long_it_is_and_whether_it_was_cut_short(film: Path) -> None:
    with Video(str(film)) as video:
        assert video.announced == COUNT
        assert len(list(video.frames(most=2))) == 2
        assert not video.cut_short, "we have stopped, not the film"
        list(video.frames())
        assert not video.cut_short
    whole = film.read_bytes()
    if film.suffix == ".AVI":  # whose frames stand before their index
        half = film.with_name("half.avi")
        half.write_bytes(whole[: len(whole) * 3 // 4])
        with Video(str(half)) as video:
            assert 1 <= len(list(video.frames())) < COUNT
            assert video.cut_short


OPEN_EACH = """
import sys
from mlstack.datasets.video import Video
from mlstack.errors import DataError
for name in sys.argv[1:]:
    try:
        Video(name)
    except DataError as error:
        print(error.message)
"""


def test_a_film_that_shows_nothing_is_one_line_and_opencv_adds_none(tmp_path: Path) -> None:
    """In a fresh process: here OpenCV was used, and made talkative, by whoever wrote the films."""
    contents = {"empty": b"", "text": b"no film" * 99, "half": write_video(tmp_path / "a.mp4").read_bytes()[:900]}
    for name, content in contents.items():
        (tmp_path / f"{name}.mp4").write_bytes(content)
    names = [*(str(tmp_path / f"{name}.mp4") for name in contents), "camera:99"]
    done = subprocess.run([sys.executable, "-c", OPEN_EACH, *names], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    *films, camera = done.stdout.splitlines()
    assert [line.split(" shows no frame")[0] for line in films] == [f"input={name}" for name in names[:3]]
    assert camera.startswith("input=camera:99: no camera there")


def test_a_film_or_camera_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        Video(str(tmp_path / "nowhere.mp4"))
    with pytest.raises(DataError, match="input=camera:99: no camera there") as caught:
        Video("camera:99")
    assert "--device" in caught.value.hint


@pytest.mark.parametrize("name", ["camera:", "camera:front", "camera:-1"])
def test_cameras_have_numbers(name: str) -> None:
    with pytest.raises(DataError, match=f"input={name} names no camera"):
        Video(name)


def test_a_video_is_asked_about_by_itself(tmp_path: Path) -> None:
    assert video_among(["a.jpg", "photos/"]) is None
    assert video_among(["Holiday.MOV"]) == "Holiday.MOV"
    assert video_among(["camera:0"]) == "camera:0"
    (tmp_path / "photos.mp4").mkdir()
    assert video_among([str(tmp_path / "photos.mp4")]) is None
    for inputs in (["a.jpg", "b.mp4"], ["b.mp4", "c.mp4"], ["camera:0", "a.jpg"]):
        with pytest.raises(DataError, match=r"is a (video|camera) and not the only input"):
            video_among(inputs)


def test_opencv_is_asked_for_by_its_pin(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingPackageError, match="opencv-python-headless") as caught:
        Video(str(film))
    assert "pip install 'opencv-python-headless==5" in caught.value.hint


class FakeCapture:
    """What OpenCV returns for a device, whose second frame is damaged."""

    def __init__(self, pictures: list[NDArray[np.uint8] | None]) -> None:
        self.pictures: Iterator[NDArray[np.uint8] | None] = iter(pictures)
        self.released = False

    def isOpened(self) -> bool:
        return True

    def grab(self) -> bool:
        self.current = next(self.pictures, StopIteration)
        return self.current is not StopIteration

    def retrieve(self) -> tuple[bool, object]:
        return self.current is not None, self.current

    def get(self, key: int) -> float:
        return 0.0

    def release(self) -> None:
        self.released = True


def test_a_cameras_frames_have_the_time_since_its_first_and_damaged_ones_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    grey = np.full((HEIGHT, WIDTH), 7, np.uint8)
    capture = FakeCapture([grey, None, np.zeros((HEIGHT, WIDTH, 4), np.uint8)])
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: capture)
    with Video("camera:0") as video:
        assert video.announced is None
        frames = list(video.frames())
    assert capture.released
    assert [frame.number for frame in frames] == [0, 2]
    assert [frame.pixels.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * 2
    assert all(0 <= first.seconds <= second.seconds < 5 for first, second in pairwise(frames))
    monkeypatch.setattr(cv2, "VideoCapture", lambda source: FakeCapture([None, None]))
    with Video("camera:0") as video, pytest.raises(DataError, match="none of its 2 frames can be decoded"):
        list(video.frames())


@pytest.mark.parametrize("resize", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, (24, 40)])
def test_a_frame_goes_by_the_very_rule_of_a_file(
    resize: str, channels: int, size: int | tuple[int, int], film: Path, tmp_path: Path
) -> None:
    frame = frames_of(film, most=1)[0]
    Image.fromarray(frame.pixels).save(tmp_path / "frame.png")
    longest = size if isinstance(size, int) else max(size)
    rule = PictureRule(size, decoded_side(longest, resize), channels, resize)
    prepared = rule.prepare(frame.pixels)
    assert prepared.shape == ((size, size) if isinstance(size, int) else size) + (channels,)
    np.testing.assert_array_equal(prepared, rule.read([tmp_path / "frame.png"])[0])
