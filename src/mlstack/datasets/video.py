"""Frames of a video file or a camera, one at a time, by OpenCV: an optional package."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlstack.errors import DataError, MissingPackageError

OPENCV_PIN = "opencv-python-headless==5.0.0.93"
CAMERA = "camera:"
SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".mts", ".m2ts")
)
QUIET = "-8"  # FFmpeg's AV_LOG_QUIET; its complaints would stand beside ours
CUT_SHORT = 0.9  # share of the announced frames below which a file is called cut short: containers announce roughly


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
        number: Its place, from 0, frames that were passed over included.
        seconds: Since the video's beginning; of a camera, since its first frame.
        pixels: uint8 [height, width, 3], RGB, upright.
    """

    number: int
    seconds: float
    pixels: NDArray[np.uint8]


def video_among(inputs: Sequence[str]) -> str | None:
    """The video or camera that a list of inputs names; None where all of them are pictures.

    Raises:
        DataError: It is named beside others. One table is about one video.
    """
    videos = [name for name in inputs if name.startswith(CAMERA) or _is_video_file(name)]
    if videos and len(inputs) > 1:
        raise DataError(
            f"input={videos[0]} is a {'camera' if videos[0].startswith(CAMERA) else 'video'} and not the only input",
            hint=f"a video or camera is asked about by itself: input={videos[0]}",
        )
    return videos[0] if videos else None


class Video:
    """An open video file or camera. Use it in a `with` block, which closes it.

    Args:
        name: A path, or `camera:0`.

    Attributes:
        announced: Frames that the file says it has; None of a camera, or where it doesn't say.

    Raises:
        DataError: No such file or camera, or it shows no frame; before anything else is done.
        MissingPackageError: OpenCV is not installed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_camera = name.startswith(CAMERA)
        source = _camera_number(name) if self.is_camera else _video_path(name)
        self._opencv = _import_opencv(name)
        self._capture = self._opencv.VideoCapture(source)
        if not self._capture.isOpened() or not self._capture.grab():
            self._capture.release()
            raise _nothing_to_see(name, is_camera=self.is_camera)
        count = int(self._capture.get(self._opencv.CAP_PROP_FRAME_COUNT))
        self.announced = count if count > 0 and not self.is_camera else None
        self._began = time.monotonic()
        self._grabbed = 1
        self._has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._capture.release()

    def frames(self, *, every: int = 1, most: int | None = None) -> Iterator[Frame]:
        """Frames in their order; those in between are passed over undecoded where the format allows it.

        Args:
            every: 1 = all of them, 5 = the first, the sixth, ….
            most: Stop after so many.

        Raises:
            DataError: Not one of them can be decoded.
        """
        shown, number = 0, 0
        while True:
            if number % every == 0:
                decoded, pixels = self._capture.retrieve()
                if decoded:  # a damaged frame is passed over
                    yield Frame(number, self._seconds(number), _to_rgb(pixels))
                    shown += 1
            self._has_ended = shown != most and not self._capture.grab()
            if shown == most or self._has_ended:
                break
            number += 1
            self._grabbed = number + 1
        if not shown:
            raise DataError(f"input={self.name}: none of its {self._grabbed} frames can be decoded")

    @property
    def cut_short(self) -> bool:
        """Whether the file came to an end long before it had shown what it announces."""
        return self._has_ended and self.announced is not None and self._grabbed < CUT_SHORT * self.announced

    @property
    def seen(self) -> int:
        """Frames so far, those that were passed over included."""
        return self._grabbed

    def _seconds(self, number: int) -> float:
        if self.is_camera:
            return time.monotonic() - self._began
        told = float(self._capture.get(self._opencv.CAP_PROP_POS_MSEC)) / 1000
        rate = float(self._capture.get(self._opencv.CAP_PROP_FPS))
        return number / rate if told <= 0 and rate > 0 else told  # some formats tell no time


def _is_video_file(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not Path(name).expanduser().is_dir()


def _video_path(name: str) -> str:
    path = Path(name).expanduser()
    if not path.is_file():
        raise DataError(f"input={name}: no such file", hint="a video is named by its path: input=holiday.mp4")
    return str(path)


def _camera_number(name: str) -> int:
    number = name.removeprefix(CAMERA)
    if not re.fullmatch("[0-9]{1,3}", number):
        raise DataError(f"input={name} names no camera", hint="cameras are numbered: input=camera:0")
    return int(number)


def _import_opencv(name: str) -> Any:
    """The module cv2, silent: what goes wrong is said by us."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", QUIET)  # read when the first video is opened
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise MissingPackageError(OPENCV_PIN, needed_for=f"input={name}") from error
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def _to_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenCV's BGR, or grey, uint8 → uint8 [height, width, 3], RGB."""
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, 2::-1])


def _nothing_to_see(name: str, *, is_camera: bool) -> DataError:
    if not is_camera:
        return DataError(
            f"input={name} shows no frame: it is empty, damaged, or of a kind that OpenCV can't decode",
            hint="does it play elsewhere? ffmpeg -i FILE -c:v libx264 out.mp4 makes one that can be decoded",
        )
    there = sorted(path.name.removeprefix("video") for path in Path("/dev").glob("video[0-9]*"))
    listed = ", ".join(f"{CAMERA}{number}" for number in there) or "none"
    return DataError(
        f"input={name}: no camera there that shows a picture (found: {listed})",
        hint="is it plugged in, free, and this user allowed to use it? a container needs --device /dev/video0",
    )
