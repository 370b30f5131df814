"""From a bundle to another runtime's model: converted, run, compared, and only then put in its place."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.files import facts_of, files_in
from mlstack.bundle.folder import Bundle
from mlstack.bundle.reference import REFERENCE, read_reference
from mlstack.bundle.replacing import replacing
from mlstack.config.export import ExportConfig
from mlstack.errors import ConfigError, ExportError, OutputError
from mlstack.export.parity import Parity
from mlstack.export.targets import openvino, tensorrt, torchscript, triton
from mlstack.export.targets.base import Converted, Model, Request, Target, bundle_answers
from mlstack.export.targets.compare import EXACT, compared, failure
from mlstack.export.targets.separate import COREML, EXECUTORCH, LITERT
from mlstack.runs import RunFolder

FACTS = "facts.json"
TARGETS: dict[str, Target] = {
    "openvino": openvino,
    "torchscript": torchscript,
    "tensorrt": tensorrt,
    "coreml": COREML,
    "executorch": EXECUTORCH,
    "litert": LITERT,
    "triton": triton,
}
EXPERIMENTAL = ("coreml", "executorch", "litert")


@dataclass(frozen=True)
class _Judged:
    """A model file and how near its answers are; None where it can't be run here."""

    model: Model
    parity: Parity | None


def check(target: str, *, run: RunFolder | None) -> None:
    """Refuse what can't work, before anything expensive.

    Args:
        target: One of `TARGETS`.
        run: Where the bundle came from, or will; None for one made of an ONNX file.

    Raises:
        ConfigError: The target starts from a network of torch, and there is none.
        MissingPackageError: Its package is not installed.
        HardwareError: This machine lacks what it needs.
        RunError: The run's settings can't be read.
    """
    _target(target).check(run)


def convert(
    target: str, *, bundle: Bundle, run: RunFolder | None, images: NDArray[np.uint8], config: ExportConfig
) -> list[str]:
    """Write `targets/<target>/` beside the bundle: model files that answer like the bundle's, and facts.json.

    Args:
        target: One of `TARGETS`.
        bundle: What they have to answer like.
        run: The run that it came from; None for one made of an ONNX file.
        images: uint8 [n, height, width, channel], real pictures, of val where there is one; the golden ones of the
            bundle are added. n may be 0.
        config: `max_error` and `checkpoint` are used.

    Returns:
        Lines to say: what was written, what was checked, and what was not.

    Raises:
        ExportError: The target's tool refuses the network, or answers differ by more than `max_error`.
        ConfigError, MissingPackageError, HardwareError, RunError: As `check`.
        OutputError: The folder can't be written, or holds something else.
    """
    check(target, run=run)
    folder = folder_of(bundle, target)
    if folder.exists() and any(folder.iterdir()) and not (folder / FACTS).is_file():
        raise OutputError(f"{folder} holds something else than an export", hint="move it elsewhere, or delete it")
    golden = read_reference(bundle.path / REFERENCE, bundle.metadata).golden_images
    known = {picture.tobytes() for picture in golden}
    pictures = np.concatenate([golden, images[[picture.tobytes() not in known for picture in images]]])
    with replacing(folder) as staging:
        request = Request(bundle=bundle, run=run, images=pictures, config=config, folder=staging)
        converted = _target(target).convert(request)
        judged = [_judge(model, request, target) for model in converted.models]
        facts = _facts(target, request, converted, judged)
        (staging / FACTS).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return _lines(folder, facts)


def folder_of(bundle: Bundle, target: str) -> Path:
    """`<run>/targets/<target>` of a run's own bundle, `<bundle>_targets/<target>` of another one."""
    path = bundle.path.resolve()
    return path.with_name("targets" if path.name == "bundle" else f"{path.name}_targets") / target


def _target(name: str) -> Target:
    if name not in TARGETS:
        raise ConfigError(f"target={name} is unknown", key="target", allowed=tuple(TARGETS))
    return TARGETS[name]


def _judge(model: Model, request: Request, target: str) -> _Judged:
    """Compare a file's answers with those of the bundle's file of the same precision.

    Raises:
        ExportError: They are too far apart.
    """
    if model.answers is None:
        return _Judged(model, None)
    expected = bundle_answers(request.bundle, model.like, request.images)
    parity = compared(model.answers, expected, task=request.bundle.metadata.task)
    reason = failure(parity, model.like, max_error=request.config.max_error)
    if reason and model.binding:
        raise ExportError(
            f"target={target}: {model.file} does not answer like the bundle on {parity.images:,} pictures: {reason}",
            hint="nothing was written" + ("; max_error=<number> allows more" if model.like == EXACT else ""),
        )
    return _Judged(model, parity)


def _facts(target: str, request: Request, converted: Converted, judged: list[_Judged]) -> dict[str, Any]:
    """What facts.json says."""
    metadata = request.bundle.metadata
    return {
        "target": target,
        "experimental": target in EXPERIMENTAL,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "bundle": {"name": metadata.name, "version": metadata.version, "created_at": metadata.created_at},
        "classes": list(metadata.classes),
        "models": [_model_facts(one, request.folder) for one in judged],
        "versions": dict(converted.versions),
        "checked": list(converted.checked),
        "not_checked": list(converted.unchecked),
        "files": {name: asdict(facts_of(request.folder / name)) for name in files_in(request.folder)},
    }


def _model_facts(one: _Judged, folder: Path) -> dict[str, Any]:
    model = one.model
    stem = model.file.rpartition(".")[0]
    # OpenVINO's weights lie beside the .xml; a Core ML package is a folder.
    parts = [
        name for name in files_in(folder) if name in (model.file, f"{stem}.bin") or name.startswith(f"{model.file}/")
    ]
    return {
        "file": model.file,
        "precision": model.like,
        "bytes": sum((folder / name).stat().st_size for name in parts),
        "run_by": model.how or None,
        **(one.parity.facts() if one.parity else {}),
        "milliseconds": model.milliseconds,
        "bundle_milliseconds": model.bundle_milliseconds,
    }


def _lines(folder: Path, facts: dict[str, Any]) -> list[str]:
    """What a user is told."""
    lines = [f"experimental  {facts['target']}: tried with the versions of facts.json"] if facts["experimental"] else []
    for number, model in enumerate(facts["models"]):
        if number == 0 or model["file"] != facts["models"][number - 1]["file"]:
            lines.append(f"{model['file']}  {model['precision']}, {model['bytes'] / 2**20:.1f} MiB")
        if model["run_by"]:
            lines.append(f"  checked      {_words(model)}")
            lines.append(f"  latency      {_latency(model)}")
    lines += [f"checked      {one}" for one in facts["checked"]]
    lines += [f"not checked  {one}" for one in facts["not_checked"]]
    return [*lines, f"written: {folder}"]


def _words(model: dict[str, Any]) -> str:
    errors = f"relative error {model['output_error']:.1e} (features {model['feature_error']:.1e})"
    same = f", same answer for {model['agreement']:.2%}" if "agreement" in model else ""
    return f"on {model['images']:,} pictures against the bundle, {model['run_by']}: {errors}{same}"


def _latency(model: dict[str, Any]) -> str:
    own = f"{model['milliseconds']:.2f} ms a picture on one thread"
    if (other := model["bundle_milliseconds"]) is None:
        return f"{own}, in a process of its own"
    return f"{own}, {model['milliseconds'] / other:.2f} × ONNX Runtime's {other:.2f} ms"
