from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlstack.datasets import inspect_file
from mlstack.datasets.inspect_file import look

NAMES = ("a.jpg", "a.png", "a.bmp", "a.webp")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(40, 30), (30, 40)])
def test_a_whole_picture_has_no_problem_and_its_shorter_side(
    tmp_path: Path, make: Any, name: str, size: tuple[int, int]
) -> None:
    path = make.image(tmp_path / name, size=size)
    found = look(path)
    assert (found.problem, found.shorter, found.grey) == ("", 30, False)
    assert found.stamp == path.stat().st_mtime_ns


@pytest.mark.parametrize(
    ("name", "mode"), [("a.jpg", "L"), ("a.png", "L"), ("a.png", "LA"), ("a.png", "1"), ("a.bmp", "L")]
)
def test_a_grey_picture_is_known_as_one(tmp_path: Path, make: Any, name: str, mode: str) -> None:
    assert look(make.image(tmp_path / name, mode=mode)).grey


def test_a_problem_is_told_in_a_few_words(tmp_path: Path, make: Any) -> None:
    jpeg, png = make.image(tmp_path / "a.jpg").read_bytes(), make.image(tmp_path / "a.png").read_bytes()
    contents = {"text": b"this is not a picture", "empty": b"", "only two bytes": b"\xff\xd8"}
    said = {}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
        said[name] = look(tmp_path / name).problem
    assert said == {"text": "not an image", "empty": "empty file", "only two bytes": "not an image"}
    missing = look(tmp_path / "missing")
    assert (missing.problem, missing.shorter, missing.digest) == ("No such file or directory", 0, b"")
    for data in (jpeg[:-20], png[: len(png) // 2]):
        (tmp_path / "cut").write_bytes(data)
        problem = look(tmp_path / "cut").problem
        assert problem and "cut" not in problem.split() and "can't be read" not in problem


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_of_as_many_pixels_as_allowed_is_taken_and_of_one_more_is_not(
    tmp_path: Path, make: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = make.image(tmp_path / name, size=(40, 30))
    monkeypatch.setattr(inspect_file, "MAX_PIXELS", 1200)
    assert look(path).problem == ""
    monkeypatch.setattr(inspect_file, "MAX_PIXELS", 1199)
    assert look(path).problem == "40 × 30 pixels are too many"


def test_the_digest_changes_with_the_size_and_with_either_end(tmp_path: Path) -> None:
    path, digests = tmp_path / "a.png", set()
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(path)
    whole = path.read_bytes()
    for data in (whole, whole + b"\0", b"\0" + whole[1:], whole[:-1] + b"\0"):
        path.write_bytes(data)
        digests.add(look(path).digest)
    assert len(digests) == 4
    path.write_bytes(whole)
    assert look(path).digest == hashlib.sha256(b"%d " % len(whole) + whole + whole).digest()
