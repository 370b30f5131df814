from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_bundles import make_model
from whole_bundle import metadata, pictures, reference_of

from mlstack.bundle.reference import NEWER, Reference, count_classes, light_of, read_reference, write_reference
from mlstack.errors import BundleError


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return reference_of(make_model(tmp_path_factory.mktemp("model") / "model.onnx", classes=3))


@pytest.mark.parametrize("labels", [np.arange(20) % 3, np.ones((20, 3)), np.zeros(0, np.int64)])
def test_what_is_written_is_read(labels: NDArray[Any], reference: Reference, tmp_path: Path) -> None:
    written = replace(reference, labels=labels)
    write_reference(tmp_path / "reference.npz", written)
    again = read_reference(tmp_path / "reference.npz", metadata())
    for name, array in vars(written).items():
        np.testing.assert_array_equal(getattr(again, name), array, err_msg=name)
    assert again.features.dtype == np.float16
    assert again.labels.dtype == (np.float32 if labels.ndim == 2 else np.int64)


def test_no_more_pictures_are_kept_than_a_server_needs(reference: Reference, tmp_path: Path) -> None:
    many = {name: np.repeat(array, 100, axis=0) for name, array in vars(reference).items() if name != "counted"}
    write_reference(tmp_path / "reference.npz", Reference(**many))
    again = read_reference(tmp_path / "reference.npz", metadata())
    assert (len(again.golden_images), len(again.outputs), len(again.labels)) == (8, 1000, 1000)


def test_classes_are_counted_over_more_pictures_than_are_kept(reference: Reference, tmp_path: Path) -> None:
    counts = np.array([3000, 2500, 500])
    written = replace(reference, class_counts=counts, counted=6000)
    write_reference(tmp_path / "reference.npz", written)
    write_reference(tmp_path / "again.npz", written)
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "reference.npz").read_bytes()
    again = read_reference(tmp_path / "reference.npz", metadata())
    assert (len(again.outputs), again.counted, again.class_counts.tolist()) == (20, 6000, [3000, 2500, 500])
    assert again.shares("classification") == (again.class_counts, 6000)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_file_of_an_earlier_version_counts_the_pictures_that_it_keeps(
    task: str, reference: Reference, tmp_path: Path
) -> None:
    arrays = {name: as_npy(array) for name, array in vars(reference).items() if name not in NEWER}
    archive(tmp_path / "reference.npz", arrays)
    again = read_reference(tmp_path / "reference.npz", metadata(task=task))
    assert (again.class_counts.shape, again.counted) == ((0,), 0)
    counts, counted = again.shares(task)
    assert (counts.tolist(), counted) == (
        count_classes(reference.outputs, task)[0].tolist(),
        0 if task == "regression" else 20,
    )


def test_answers_are_counted_as_their_task_says() -> None:
    outputs = np.array([[0.5, 0.4, 0.1], [0.2, 0.7, 0.6], [0.1, 0.8, 0.1]], np.float32)
    for task, expected in (("classification", [1, 2, 0]), ("multilabel", [1, 2, 1]), ("regression", [])):
        counts, counted = count_classes(outputs, task)
        assert (counts.tolist(), counts.dtype, counted) == (expected, np.int64, 3 if expected else 0)
    assert count_classes(outputs[:0], "classification")[0].tolist() == [0, 0, 0]


def test_a_feature_that_16_bits_cannot_hold_is_written_as_their_greatest(reference: Reference, tmp_path: Path) -> None:
    write_reference(tmp_path / "reference.npz", replace(reference, features=np.full((20, 4), 1e6, np.float32)))
    assert read_reference(tmp_path / "reference.npz", metadata()).features[0, 0] == 65504


def test_brightness_and_contrast_are_those_of_the_grey_values() -> None:
    images = pictures(3)
    brightness, contrast = light_of(images)
    np.testing.assert_allclose(brightness, images.mean(axis=(1, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(contrast, images.std(axis=(1, 2, 3)), rtol=1e-5)
    green = np.zeros((1, 8, 8, 3), np.uint8)
    green[..., 1] = 200
    assert light_of(green)[0][0] == pytest.approx(200 * 0.587)
    assert light_of(green)[1][0] == pytest.approx(0, abs=1e-4)


def archive(path: Path, arrays: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, content in arrays.items():
            file.writestr(f"{name}.npy", content)


def as_npy(array: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def a_header_that_lies(arrays: dict[str, bytes]) -> None:
    """A few bytes that claim to be a terabyte."""
    arrays["outputs"] = as_npy(np.zeros((1, 3), np.float32)).replace(b"(1, 3)", b"(1000000000000, 3)")


def a_bomb(arrays: dict[str, bytes]) -> None:
    arrays["more"] = bytes(2**28 + 1)


def objects(arrays: dict[str, bytes]) -> None:
    arrays["labels"] = as_npy(np.array([print, {}], dtype=object))


SPOILED: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "missing": (lambda arrays: arrays.pop("brightness"), "has no array brightness"),
    "pickled": (objects, r"labels is of the type \|O"),
    "a lie": (a_header_that_lies, "can't be read"),
    "a bomb": (a_bomb, "larger than 256 MiB"),
    "cut off": (lambda arrays: arrays.update(outputs=arrays["outputs"][:-4]), "can't be read"),
    "no array": (lambda arrays: arrays.update(outputs=b"PK"), "can't be read"),
    "other pictures": (
        lambda arrays: arrays.update(golden_images=as_npy(np.zeros((8, 9, 8, 1), np.uint8))),
        r"golden_images has the shape \[8, 9, 8, 1\], expected \[8, 8, 8, 1\]",
    ),
    "other features": (
        lambda arrays: arrays.update(features=as_npy(np.zeros((20, 5), np.float16))),
        r"features has the shape \[20, 5\]",
    ),
    "float64": (lambda arrays: arrays.update(outputs=as_npy(np.zeros((20, 3)))), "outputs is of the type <f8"),
    "none golden": (
        lambda arrays: arrays.update(
            golden_images=as_npy(np.zeros((0, 8, 8, 1), np.uint8)), golden_outputs=as_npy(np.zeros((0, 3), np.float32))
        ),
        "holds 0 and 20 pictures",
    ),
}


@pytest.mark.parametrize(("spoil", "message"), SPOILED.values(), ids=SPOILED.keys())
def test_an_archive_that_cannot_be_used_is_one_line_with_the_arrays_name(
    spoil: Callable[[dict[str, bytes]], object], message: str, reference: Reference, tmp_path: Path
) -> None:
    arrays = {name: as_npy(array) for name, array in vars(reference).items()}
    spoil(arrays)
    archive(tmp_path / "reference.npz", arrays)
    with pytest.raises(BundleError, match=rf"reference\.npz.*{message}") as caught:
        read_reference(tmp_path / "reference.npz", metadata())
    assert len(caught.value.message.splitlines()) == 1


MISCOUNTED = {
    "other classes": ("classification", [3, 3], 6, r"class_counts has the shape \[2\], expected \[3\] or \[0\]"),
    "more than one count": ("classification", [3, 3, 0], [6], r"counted has the shape \[1\], expected \[\]"),
    "a wrong sum": ("classification", [3, 3, 1], 6, "class_counts adds up to 7, expected 6, which counted says"),
    "below zero": ("classification", [3, 4, -1], 6, "class_counts begins at -1 and counted is 6"),
    "beyond 64 bits": ("classification", [2**62, 2**62, 2**62], 2**62, "class_counts adds up to 13835058055282163712"),
    "nobody counted": ("classification", [0, 0, 0], 0, "class_counts begins at 0 and counted is 0"),
    "counted without counts": ("classification", [], 6, "counted is 6, expected 0 without class_counts"),
    "more than were counted": ("multilabel", [6, 7, 0], 6, "class_counts goes up to 7, expected 6 at most"),
    "values have no classes": ("regression", [3, 3, 0], 6, r"class_counts has the shape \[3\], expected \[0\]"),
}


@pytest.mark.parametrize(("task", "counts", "counted", "message"), MISCOUNTED.values(), ids=MISCOUNTED.keys())
def test_counts_that_cannot_be_are_one_line(
    task: str, counts: list[int], counted: Any, message: str, reference: Reference, tmp_path: Path
) -> None:
    arrays = {name: as_npy(array) for name, array in vars(reference).items()}
    arrays |= {"class_counts": as_npy(np.array(counts, np.int64)), "counted": as_npy(np.array(counted, np.int64))}
    archive(tmp_path / "reference.npz", arrays)
    with pytest.raises(BundleError, match=rf"reference\.npz: {message}") as caught:
        read_reference(tmp_path / "reference.npz", metadata(task=task))
    assert len(caught.value.message.splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_a_file_that_is_no_archive_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "reference.npz").write_bytes(content)
    with pytest.raises(BundleError, match=r"reference\.npz can't be read"):
        read_reference(tmp_path / "reference.npz", metadata())
    with pytest.raises(BundleError, match=r"nowhere\.npz can't be read: No such file"):
        read_reference(tmp_path / "nowhere.npz", metadata())
