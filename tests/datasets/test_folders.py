from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlstack.config import AugmentConfig, DataConfig
from mlstack.datasets import load_dataset
from mlstack.datasets.images import FileImages, MappedImages
from mlstack.datasets.loader import BatchLoader
from mlstack.errors import DataError


def load(path: Path, **options: Any) -> Any:
    return load_dataset(DataConfig(name="image_folder", path=str(path), **options))


def test_a_folder_of_class_folders_is_split_by_a_seed(photos: Path) -> None:
    dataset = load(photos)
    assert dataset.classes == ("cats", "dogs")
    assert {part: len(split) for part, split in dataset.splits.items()} == {"train": 20, "val": 2, "test": 2}
    names = [name for split in dataset.splits.values() for name in split.names]
    assert len(set(names)) == 24
    for split in dataset.splits.values():
        assert [name.split("/")[0] for name in split.names] == [dataset.classes[label] for label in split.labels]
    assert (dataset.image_size, dataset.channels) == (30, 3)


@pytest.mark.parametrize(("val", "test"), [("val", "test"), ("valid", "testing"), ("Validation", None)])
def test_a_folders_own_split_is_kept(tmp_path: Path, make: Any, val: str, test: str | None) -> None:
    for part, count in (("train", 12), (val, 3), (test, 2)):
        if part:
            make.folder(tmp_path / part, count=count)
    dataset = load(tmp_path)
    assert len(dataset.splits["val"]) == 6
    assert {name.split("/")[0] for name in dataset.splits["val"].names} == {val}
    assert {name.split("/")[0] for name in dataset.splits["test"].names} == {test or "train"}


def test_grey_pictures_make_a_grey_set(tmp_path: Path, make: Any) -> None:
    for name in ("a", "b"):
        for index in range(6):
            make.image(tmp_path / name / f"{index}.{('png', 'jpg')[index % 2]}", mode="L", seed=index)
    assert load(tmp_path).channels == 1
    assert load(tmp_path, channels=3).channels == 3


def test_pictures_are_found_below_subfolders_hidden_and_system_files_are_not(photos: Path, make: Any) -> None:
    make.image(photos / "cats" / "tabby" / "x.JPG")
    make.image(photos / ".thumbnails" / "y.jpg")
    for name in (".DS_Store", "Thumbs.db"):
        (photos / "cats" / name).write_text("")
    dataset = load(photos)
    assert sum(len(split) for split in dataset.splits.values()) == 25
    assert dataset.classes == ("cats", "dogs")


def test_everything_wrong_is_named_in_one_message(photos: Path) -> None:
    for index in range(5):
        (photos / "cats" / f"broken{index}.jpg").write_bytes(b"nonsense")
    half = (photos / "cats" / "0.jpg").read_bytes()
    (photos / "cats" / "1.jpg").write_bytes(half[: len(half) // 2])
    (photos / "birds").mkdir()
    (photos / "dogs" / "notes.txt").write_text("")
    (photos / "dogs" / "gone.jpg").symlink_to(photos / "nowhere.jpg")
    with pytest.raises(DataError) as caught:
        load(photos)
    text = str(caught.value)
    assert len(text.splitlines()) <= 8
    for part in ("8 problems", "corrupt images (7)", "cats/1.jpg", "empty classes (1): birds", "dogs/notes.txt", "…"):
        assert part in text


def test_a_folder_that_can_not_be_read_is_named(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if str(path).endswith("cats"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"unreadable folders \(1\): cats"):
        load(photos)


def test_files_that_are_no_images_are_left_out_with_a_note(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    (photos / "cats" / "notes.txt").write_text("")
    assert sum(len(split) for split in load(photos).splits.values()) == 24
    assert "cats/notes.txt" in caplog.text


def test_a_picture_that_breaks_after_the_scan_is_named_when_it_is_read(photos: Path) -> None:
    split = load(photos).splits["train"]
    (photos / split.names[3]).write_bytes(b"")
    with pytest.raises(DataError, match=split.names[3]):
        BatchLoader(split, batch_size=8, image_size=30).batch(0, 0)


@pytest.mark.parametrize("resize", ["crop", "stretch", "pad"])
def test_cached_and_uncached_batches_are_the_same_bytes(photos: Path, resize: str) -> None:
    options = {"image_size": 21, "resize": resize}
    plain, cached = load(photos, **options), load(photos, cache="disk", **options)
    assert isinstance(plain.splits["train"].images, FileImages)
    assert isinstance(cached.splits["train"].images, MappedImages)
    assert (plain.fingerprint, plain.mean, plain.std) == (cached.fingerprint, cached.mean, cached.std)
    augment = AugmentConfig(flip=0.5, crop=2, resized_crop=0.4)
    for part in ("train", "val"):
        one, other = (
            BatchLoader(dataset.splits[part], batch_size=4, image_size=21, shuffle=True, augment=augment)
            for dataset in (plain, cached)
        )
        assert np.array_equal(one.batch(1, 0).images, other.batch(1, 0).images)


def cache_files(photos: Path) -> list[Path]:
    return sorted(photos.rglob("*.npy"))


def test_the_cache_is_made_once_and_anew_when_a_picture_changes(photos: Path, make: Any) -> None:
    load(photos, cache="disk")
    (first,) = cache_files(photos)
    made = first.stat().st_mtime_ns
    load(photos, cache="disk", split_seed=5)
    assert first.stat().st_mtime_ns == made
    make.image(photos / "cats" / "0.jpg", seed=99)
    load(photos, cache="disk")
    (second,) = cache_files(photos)
    assert second != first


def test_a_cache_that_was_cut_off_is_made_anew(photos: Path) -> None:
    expected = load(photos, cache="disk").splits["train"].images.read(np.arange(3)).copy()
    (path,) = cache_files(photos)
    for data in (path.read_bytes()[:-1000], b""):
        path.unlink()
        path.write_bytes(data)
        assert np.array_equal(load(photos, cache="disk").splits["train"].images.read(np.arange(3)), expected)


def test_where_the_folder_can_not_be_written_the_cache_goes_to_data(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (photos / ".decoded").write_text("in the way")
    load(photos, cache="disk")
    assert len(list(Path("data/.cache").rglob("*.npy"))) == 1


def test_a_cache_that_does_not_fit_on_the_disk_is_refused(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(photos)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(DataError, match=r"data\.cache=none|GB are free"):
        load(photos, cache="disk")
    assert cache_files(photos) == []


def test_a_mapped_cache_travels_to_workers_by_its_path(photos: Path) -> None:
    images = load(photos, cache="disk", image_size=200).splits["train"].images
    packed = pickle.dumps(images)
    assert len(packed) < 2000
    assert np.array_equal(pickle.loads(packed).read(np.arange(4)), images.read(np.arange(4)))


def test_equal_folders_have_equal_fingerprints_wherever_they_lie(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "copy")
    assert load(photos).fingerprint == load(tmp_path / "copy").fingerprint
    (tmp_path / "copy" / "cats" / "0.jpg").rename(tmp_path / "copy" / "cats" / "00.jpg")
    assert load(photos).fingerprint != load(tmp_path / "copy").fingerprint


def test_imagenet_is_two_folders_with_its_published_mean(tmp_path: Path, make: Any) -> None:
    make.folder(tmp_path / "train", classes=("n01440764", "n01443537"))
    make.folder(tmp_path / "val", classes=("n01440764", "n01443537"), count=2)
    dataset = load_dataset(DataConfig(name="imagenet", path=str(tmp_path)))
    assert dataset.image_size == 224 and dataset.mean == (0.485, 0.456, 0.406)
    assert list(dataset.splits["val"].names) == list(dataset.splits["test"].names)
    assert len(dataset.splits["train"]) == 24
