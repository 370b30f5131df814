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

from mlstack.bundle.reference import Reference, light_of, read_reference, write_reference
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
    many = {name: np.repeat(array, 100, axis=0) for name, array in vars(reference).items()}
    write_reference(tmp_path / "reference.npz", Reference(**many))
    again = read_reference(tmp_path / "reference.npz", metadata())
    assert (len(again.golden_images), len(again.outputs), len(again.labels)) == (8, 1000, 1000)


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


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive"])
def test_a_file_that_is_no_archive_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "reference.npz").write_bytes(content)
    with pytest.raises(BundleError, match=r"reference\.npz can't be read"):
        read_reference(tmp_path / "reference.npz", metadata())
    with pytest.raises(BundleError, match=r"nowhere\.npz can't be read: No such file"):
        read_reference(tmp_path / "nowhere.npz", metadata())
