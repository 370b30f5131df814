"""A model repository for NVIDIA's Triton Inference Server, around the bundle's own ONNX files.

    <name>/               the file that the bundle serves by default     README.md    how to start Triton on it
        config.pbtxt      `triton_config.py`                             facts.json   sha256 of each file
        labels.txt        a class name a line
        1/model.onnx      the bundle's file, byte for byte
    <name>-<precision>/   the same for each other file of the bundle

It needs no package. Nothing is run: the files answer as the bundle does because they are the bundle's.
"""

from __future__ import annotations

import shutil

import onnx

from mlstack.bundle.files import facts_of
from mlstack.bundle.metadata import ModelFile
from mlstack.errors import ExportError
from mlstack.export.targets.base import Converted, Model, Request
from mlstack.export.targets.triton_config import (
    LABELS_FILE,
    MODEL_FILE,
    ON_THE_CPU,
    config_text,
    has_labels,
    label_lines,
    model_name,
)
from mlstack.export.targets.triton_readme import readme
from mlstack.runs import RunFolder

VERSION = 1  # Triton's versions are whole numbers; the bundle's own stands in config.pbtxt as bundle_version
UNCHECKED = (
    "Triton itself: no server was started here; tests/containers/test_triton_server.py loads such a repository",
    "GPUs",
)
SATURATES = (
    "int8 on x86 processors without VNNI: our own server asks ONNX Runtime for exact sums there, "
    "and Triton's back end documents no setting for it"
)


def check(run: RunFolder | None) -> None:
    """Nothing is refused: every bundle can be served. See `targets.check`."""


def convert(request: Request) -> Converted:
    """Write a model for each file of the bundle. See `targets.convert`."""
    metadata = request.bundle.metadata
    models, checked = [], []
    for one in metadata.models:
        name = model_name(metadata, one.precision)
        folder = request.folder / name
        place = folder / str(VERSION) / MODEL_FILE
        place.parent.mkdir(parents=True)
        shutil.copyfile(request.bundle.path / one.file, place)
        if facts_of(place) != metadata.files[one.file]:
            raise ExportError(f"{one.file} changed while it was copied", hint="run the command again")
        (folder / "config.pbtxt").write_text(config_text(metadata, one.precision), encoding="utf-8")
        if has_labels(metadata):
            (folder / LABELS_FILE).write_text(label_lines(metadata), encoding="utf-8")
        models.append(Model(file=place.relative_to(request.folder).as_posix(), like=one.precision))
        checked.append(_written_for(request, one, name))
    (request.folder / "README.md").write_text(readme(metadata), encoding="utf-8")
    doubts = (*UNCHECKED, SATURATES) if any(one.precision in ON_THE_CPU for one in metadata.models) else UNCHECKED
    return Converted(models=tuple(models), versions={}, checked=tuple(checked), unchecked=doubts)


def _written_for(request: Request, one: ModelFile, name: str) -> str:
    """That the file is the bundle's, and what of ONNX the Triton that loads it has to know."""
    file = onnx.load(request.bundle.path / one.file, load_external_data=False)
    opset = max(entry.version for entry in file.opset_import if entry.domain in ("", "ai.onnx"))
    return f"{name}: the bundle's own {one.file}, byte for byte; ONNX opset {opset}, IR version {file.ir_version}"
