"""reference.npz: inputs with known answers, and how held-out pictures look to the model and to a light meter.

    golden_images   uint8 [≤ 8, height, width, channel]    golden_outputs  float32 [≤ 8, answer], of model.onnx
    outputs         float32 [n ≤ 1000, answer]             features        float16 [n, feature]
    brightness      float32 [n], mean grey value 0..255    contrast        float32 [n], its standard deviation
    labels          int64 [n], or float32 [n, answer]; empty where nobody knows them
    class_counts    int64 [answer], pictures answered with each class, or with at least 0.5 for each label
    counted         int64, pictures that were counted: all held-out ones, since 1000 tell a class's share too roughly

`class_counts` is empty and `counted` 0 of a regression, and where only the pictures of `outputs` were counted.
Bundles of earlier versions have neither. The file is read without pickle, and no more is read than the arrays' own
headers announce and `MAX_BYTES` allows.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.fields import AGAIN
from mlstack.bundle.metadata import Metadata
from mlstack.errors import BundleError

REFERENCE = "reference.npz"
MAX_GOLDEN = 8
MAX_PICTURES = 1000
MAX_BYTES = 2**28  # 1000 answers of 20,000 classes are 80 MB, 8 pictures of 1024 pixels 25 MB
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
DTYPES = {
    "golden_images": ("|u1",),
    "golden_outputs": ("<f4",),
    "outputs": ("<f4",),
    "features": ("<f2",),
    "brightness": ("<f4",),
    "contrast": ("<f4",),
    "labels": ("<i8", "<f4"),
    "class_counts": ("<i8",),
    "counted": ("<i8",),
}
NEWER = ("class_counts", "counted")  # earlier bundles are read without them


@dataclass(frozen=True)
class Reference:
    """The arrays of reference.npz; shapes, types and units stand at the top of this file."""

    golden_images: NDArray[np.uint8]
    golden_outputs: NDArray[np.float32]
    outputs: NDArray[np.float32]
    features: NDArray[np.float16]
    brightness: NDArray[np.float32]
    contrast: NDArray[np.float32]
    labels: NDArray[Any]
    class_counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    counted: int = 0

    def shares(self, task: str) -> tuple[NDArray[np.int64], int]:
        """`class_counts` and `counted`; where there are none, those of `outputs`."""
        return (self.class_counts, self.counted) if self.counted else count_classes(self.outputs, task)


def count_classes(outputs: NDArray[np.float32], task: str) -> tuple[NDArray[np.int64], int]:
    """`class_counts` and `counted` of answers float32 [n, answer]."""
    if task == "regression":
        return np.zeros(0, np.int64), 0
    if task == "multilabel":
        return np.count_nonzero(outputs >= 0.5, axis=0).astype(np.int64), len(outputs)
    return np.bincount(outputs.argmax(axis=1), minlength=outputs.shape[1]).astype(np.int64), len(outputs)


def light_of(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Brightness and contrast of pictures: mean and standard deviation of their grey values, 0 to 255.

    Args:
        images: uint8 [n, height, width, 1 or 3].

    Returns:
        float32 [n] and float32 [n].
    """
    brightness, contrast = np.empty(len(images), np.float32), np.empty(len(images), np.float32)
    for row, image in enumerate(images):  # one at a time: 1000 pictures as floats are 600 MB
        grey = image[:, :, 0] if image.shape[2] == 1 else image @ GREY
        brightness[row], contrast[row] = grey.mean(), grey.std()
    return brightness, contrast


def write_reference(path: Path, reference: Reference) -> None:
    """Write the arrays, of the types that reading expects, uncompressed.

    The first `MAX_GOLDEN` golden pictures and the first `MAX_PICTURES` of the others are kept. Little-endian.
    """
    labels = reference.labels
    kept = {
        "golden_images": reference.golden_images[:MAX_GOLDEN].astype("|u1"),
        "golden_outputs": reference.golden_outputs[:MAX_GOLDEN].astype("<f4"),
        "outputs": reference.outputs[:MAX_PICTURES].astype("<f4"),
        "features": np.clip(reference.features[:MAX_PICTURES], *_range_of(np.float16)).astype("<f2"),
        "brightness": reference.brightness[:MAX_PICTURES].astype("<f4"),
        "contrast": reference.contrast[:MAX_PICTURES].astype("<f4"),
        "labels": labels[:MAX_PICTURES].astype("<f4" if np.issubdtype(labels.dtype, np.floating) else "<i8"),
        "class_counts": reference.class_counts.astype("<i8"),
        "counted": np.array(reference.counted, "<i8"),
    }
    np.savez(path, allow_pickle=False, **kept)


def read_reference(path: Path, metadata: Metadata) -> Reference:
    """Read reference.npz.

    Args:
        path: The file.
        metadata: Of the bundle that it belongs to: the arrays' shapes have to fit it.

    Raises:
        BundleError: It can't be read, is larger than `MAX_BYTES`, or an array is missing, of the wrong shape or type,
            or counts what can't be; the line names file and array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [one.name for one in fields(Reference)]
            there = archive.namelist()
            wanted = [name for name in names if name not in NEWER or f"{name}.npy" in there]
            arrays: dict[str, Any] = {name: _array(archive, name) for name in wanted}
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
        raise BundleError(f"{path} can't be read: {reason}", hint=AGAIN) from error
    reference = Reference(**arrays)
    _check_shapes(reference, metadata, path)
    reference = replace(reference, counted=int(reference.counted))
    if reason := _miscounted(reference, metadata.task):
        raise BundleError(f"{path}: {reason}", hint=AGAIN)
    return reference


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """One array of the archive, of no more bytes than its header announces."""
    try:
        entry = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"it has no array {name}") from None
    if sum(one.file_size for one in archive.infolist()) > MAX_BYTES:
        raise ValueError(f"unpacked it is larger than {MAX_BYTES >> 20} MiB")
    with archive.open(entry) as file:
        major, minor = np.lib.format.read_magic(file)
        if (major, minor) != (1, 0):
            raise ValueError(f"{name} is of version {major}.{minor} of the npy format")
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype.str not in DTYPES[name] or by_column:
            raise ValueError(f"{name} is of the type {dtype.str}, expected {' or '.join(DTYPES[name])}")
        return np.frombuffer(file.read(), dtype).reshape(shape)


def _check_shapes(reference: Reference, metadata: Metadata, path: Path) -> None:
    """Refuse arrays that don't fit each other, or the model's input and outputs."""
    picture = (metadata.input.height, metadata.input.width, metadata.input.channels)
    answers, golden, count = len(metadata.classes), len(reference.golden_images), len(reference.outputs)
    wanted: dict[str, tuple[tuple[int, ...], ...]] = {
        "golden_images": ((golden, *picture),),
        "golden_outputs": ((golden, answers),),
        "outputs": ((count, answers),),
        "features": ((count, metadata.features),),
        "brightness": ((count,),),
        "contrast": ((count,),),
        "labels": ((count,), (count, answers), (0,)),
        "class_counts": ((0,),) if metadata.task == "regression" else ((answers,), (0,)),
        "counted": ((),),
    }
    for name, shapes in wanted.items():
        shape = np.shape(getattr(reference, name))
        if shape not in shapes:
            expected = " or ".join(str(list(one)) for one in shapes)
            raise BundleError(f"{path}: {name} has the shape {list(shape)}, expected {expected}", hint=AGAIN)
    if not 1 <= golden <= MAX_GOLDEN or count > MAX_PICTURES:
        wanted_rows = f"1 to {MAX_GOLDEN} golden pictures and at most {MAX_PICTURES} others"
        raise BundleError(f"{path} holds {golden} and {count} pictures, expected {wanted_rows}", hint=AGAIN)


def _miscounted(reference: Reference, task: str) -> str:
    """What is wrong with the counts; empty = nothing."""
    counts, counted = reference.class_counts.tolist(), reference.counted  # whole numbers of Python don't overflow
    if not counts:
        return f"counted is {counted}, expected 0 without class_counts" if counted else ""
    if counted < 1 or min(counts) < 0:
        return f"class_counts begins at {min(counts)} and counted is {counted}, expected 0 or more and 1 or more"
    if task == "classification" and sum(counts) != counted:
        return f"class_counts adds up to {sum(counts)}, expected {counted}, which counted says"
    if max(counts) > counted:
        return f"class_counts goes up to {max(counts)}, expected {counted} at most, which counted says"
    return ""


def _range_of(kind: type[np.float16]) -> tuple[float, float]:
    limits = np.finfo(kind)
    return float(limits.min), float(limits.max)
