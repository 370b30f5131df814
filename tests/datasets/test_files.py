from __future__ import annotations

from pathlib import Path

import pytest

from mlstack.datasets.files import find_images
from mlstack.errors import DataError


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.jpg", "a.PNG", "notes.txt", "deep/er/c.webp", "deep/d.jpg/inside.bmp"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "photos"


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (["photos"], ["photos/a.PNG", "photos/b.jpg", "photos/deep/d.jpg/inside.bmp", "photos/deep/er/c.webp"]),
        (["photos/notes.txt"], ["photos/notes.txt"]),  # a file is taken as it is
        (["photos/*.*"], ["photos/a.PNG", "photos/b.jpg", "photos/notes.txt"]),
        (["photos/**/*.webp"], ["photos/deep/er/c.webp"]),
        (["photos/b.jpg", "photos/*.jpg", "photos/a.PNG"], ["photos/b.jpg", "photos/a.PNG"]),  # each once, in order
    ],
)
def test_files_folders_and_patterns_name_pictures(inputs: list[str], found: list[str]) -> None:
    assert [str(path) for path in find_images(inputs)] == found


def test_a_tilde_is_the_home_folder_and_a_pattern_may_be_absolute(photos: Path) -> None:
    assert find_images(["~/photos/b.jpg"]) == [photos / "b.jpg"]
    assert find_images([f"{photos}/*.jpg"]) == [photos / "b.jpg"]


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty", "input=empty: no image there"),
        ("~/empty", "input=~/empty: no image there"),
        ("none.jpg", "input=none.jpg: no such file"),
        ("photos/*.gif", "input=photos/*.gif: no such file"),
        ("photos/dee*", "input=photos/dee*: no such file"),  # a pattern that fits a folder alone
    ],
)
def test_what_names_no_picture_is_one_message(name: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        find_images(["photos/b.jpg", name])
    assert caught.value.message == message
    assert ".jpg" in caught.value.hint
