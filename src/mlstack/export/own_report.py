"""What is known about an ONNX file of one's own, and what the user is told about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from mlstack.bundle.files import facts_of
from mlstack.bundle.metadata import Metadata
from mlstack.config.export import ExportConfig
from mlstack.export.own_core import OwnCore
from mlstack.export.own_file import OwnFile
from mlstack.export.own_frame import Frame
from mlstack.export.own_pictures import OwnPictures
from mlstack.provenance import git_state


@dataclass(frozen=True)
class Wrapped:
    """Everything that is known about a file when the bundle is written."""

    config: ExportConfig
    own: OwnFile
    frame: Frame
    core: OwnCore
    classes: tuple[str, ...]
    pictures: OwnPictures


def source_of(wrapped: Wrapped) -> dict[str, Any]:
    """Where the model comes from, for metadata.json; no folder of this machine."""
    own, core, config = wrapped.own, wrapped.core, wrapped.config
    return {
        "onnx": own.path.name,
        "type": own.dtype,
        "sha256": facts_of(own.path).sha256,
        "opset": f"{own.converted_from}, converted to {_opset(own.model)}" if own.converted_from else _opset(own.model),
        "normalisation": f"mean {list(config.mean)}, std {list(config.std)}, {config.color}",
        "features": f"what {core.features_from} sees" if core.features_from else "none: the answers stand in for them",
        "pictures": wrapped.pictures.source,
        "git": git_state(),
    }


def _opset(model: onnx.ModelProto) -> int:
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def opening(wrapped: Wrapped) -> str:
    """What was found, before the work begins."""
    own, frame, core, pictures = wrapped.own, wrapped.frame, wrapped.core, wrapped.pictures
    layout = "channel last" if frame.channel_last else "channel first"
    seen = f"what {core.features_from} sees" if core.features_from else "no last linear layer found: its answers"
    batch = (
        "any" if core.batch is None else f"only {core.batch}: the graph does not give more at a time the same answers"
    )
    labels = "with labels, from their folders" if len(pictures.labels) else "without labels"
    lines = [
        f"model       {own.path}, {core.classes:,} classes, {own.dtype}",
        f"input       {frame.size}×{frame.size}×{frame.channels}, {layout}, batch {batch}",
        f"features    {core.features:,}: {seen}",
        f"pictures    {pictures.source}, {labels}",
    ]
    if own.converted_from:
        lines.append(f"opset       {own.converted_from}, converted to {_opset(own.model)}")
    if wrapped.config.quantize.mode != "none" and not len(pictures.labels):
        lines.append("quantize    judged by how often the class stays the same: nobody knows the true ones")
    return "\n".join(lines)


def closing(folder: Path, metadata: Metadata) -> str:
    """What came out, where it is, and what to type next."""
    parity = metadata.parity
    lines = [
        f"parity      relative error {parity['relative_error']:.1e} (allowed {parity['max_error']:g}), "
        f"same class on {parity['agreement']:.2%} of {parity['images']:,} pictures"
    ]
    for model in metadata.models:
        facts = [f"{model.bytes / 1e6:.2f} MB"]
        if "accuracy" in (scores := model.metrics.get("val", {})):
            facts.append(f"accuracy {scores['accuracy']:.4f}")
        if "agreement" in model.details:
            facts.append(f"same class as model.onnx on {model.details['agreement']:.2%}")
        lines.append(f"{model.precision:<12}{model.file}, {', '.join(facts)}")
    lines.append(f"bundle      {folder}")
    lines.append(f"next        python scripts/verify_bundle.py bundle={folder}")
    return "\n".join(lines)
