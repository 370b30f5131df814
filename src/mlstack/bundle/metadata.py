"""metadata.json: what a bundle is, what it takes and answers, and the sha256 of each of its files.

`metadata.schema.json` beside this file says the same as a JSON Schema, for readers in other languages.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mlstack.bundle.fields import AGAIN, Fields, parse_object
from mlstack.errors import BundleError

SCHEMA_VERSION = 1
TASKS = ("classification", "multilabel", "regression")
PRECISIONS = ("fp32", "int8", "int8_dynamic", "fp16")
RESIZE_RULES = ("crop", "stretch", "pad")
OUTPUTS = {"classification": "probabilities", "multilabel": "probabilities", "regression": "values"}

# Names and versions become part of a service's addresses, files part of paths.
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
NAME_RULE = "1 to 128 of the characters A-Z a-z 0-9 . _ - with no dot in front"
SHA256 = re.compile(r"[0-9a-f]{64}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


@dataclass(frozen=True)
class PictureInput:
    """What the model takes: `images`, uint8 [batch, height, width, channel], channels in the order RGB.

    Attributes:
        height: In pixels.
        width: In pixels.
        channels: 1 = grey, 3 = RGB.
        resize: How a picture of another shape gets there; the rules stand in `datasets/decode.py`.
        decoded_size: Height and width of the square that `crop` takes the middle of, in pixels.
    """

    height: int
    width: int
    channels: int
    resize: str
    decoded_size: int


@dataclass(frozen=True)
class ModelFile:
    """One ONNX file of a bundle.

    Attributes:
        file: Its name inside the bundle.
        precision: One of `PRECISIONS`, each at most once in a bundle.
        bytes: Its size.
        metrics: By split (`val`, `test`): metrics by name. NaN = could not be computed.
        details: How it was made and what that cost: parity, calibration, layers left in 32 bits, …
    """

    file: str
    precision: str
    bytes: int
    metrics: dict[str, dict[str, float]]
    details: dict[str, Any]


@dataclass(frozen=True)
class FileFacts:
    """What a file has to look like: its sha256 in hexadecimal, and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Metadata:
    """Everything that metadata.json says.

    Attributes:
        name: Of the model in a service: `NAME_RULE`.
        version: Of the model: `NAME_RULE`.
        created_at: ISO 8601 with a time zone.
        task: One of `TASKS`.
        input: What the model takes.
        output: Name of the first output: `probabilities`, or of a regression `values`.
        classes: Names of classes, labels or targets, in the order of the output's columns.
        features: Width of the second output, `features`.
        batch: The only number of images a call takes; None = any.
        models: The model files.
        default: Precision of the model file that answers when nobody names one.
        temperature: What logits are divided by, inside the graph; None where nothing was fitted.
        calibration: `error_before` and `error_after` that division; empty where nothing was fitted.
        parity: How near the answers are to the training framework's; empty without one to compare with.
        data: Name, fingerprint and number of images of the training data.
        source: Where it comes from: engine, model, run, checkpoint, git commit.
        versions: Of the packages that made it.
        files: Each file of the bundle but metadata.json, by its name with `/` between folders.
        schema_version: Of this very structure.
    """

    name: str
    version: str
    created_at: str
    task: str
    input: PictureInput
    output: str
    classes: tuple[str, ...]
    features: int
    batch: int | None
    models: tuple[ModelFile, ...]
    default: str
    temperature: float | None
    calibration: dict[str, float]
    parity: dict[str, Any]
    data: dict[str, Any]
    source: dict[str, Any]
    versions: dict[str, Any]
    files: dict[str, FileFacts]
    schema_version: int = SCHEMA_VERSION


def plain_name(text: str) -> str:
    """A text as a name that keeps to `NAME_RULE`: `timm/vit tiny` → `timm-vit-tiny`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:128] or "model"


def told_apart(names: Sequence[str]) -> list[str]:
    """Names in which none comes twice: ImageNet has two cranes, which become crane (134) and crane (517)."""
    counts = Counter(names)
    return [f"{name} ({index})" if counts[name] > 1 else name for index, name in enumerate(names)]


def to_json(metadata: Metadata) -> str:
    """The text of metadata.json. What JSON has no word for (NaN, infinity) becomes null."""
    return json.dumps(_plain(asdict(metadata)), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str, path: Path) -> Metadata:
    """Read metadata.json's text.

    Args:
        text: All of it.
        path: The file that it comes from, for messages.

    Raises:
        BundleError: It is damaged, of another schema version, or a field is missing or wrong; the line names it.
    """
    fields = parse_object(text, path)
    version = fields.integer("schema_version", minimum=1)
    if version > SCHEMA_VERSION:
        raise BundleError(
            f"{path} is of schema version {version}; this installation reads versions up to {SCHEMA_VERSION}",
            hint="install a newer version of this project, or export the bundle again with this one",
        )
    fields.only(*Metadata.__dataclass_fields__)
    task = fields.choice("task", TASKS)
    metadata = Metadata(
        name=_name(fields, "name"),
        version=_name(fields, "version"),
        created_at=_moment(fields, "created_at"),
        task=task,
        input=_picture_input(fields.object("input")),
        output=fields.choice("output", (OUTPUTS[task],)),
        classes=fields.texts("classes"),
        features=fields.integer("features", minimum=1),
        batch=None if fields.values.get("batch", 0) is None else fields.integer("batch", minimum=1),
        models=tuple(_model_file(one) for one in fields.objects("models")),
        default=fields.choice("default", PRECISIONS),
        temperature=_temperature(fields),
        calibration=fields.numbers("calibration"),
        parity=dict(fields.object("parity").values),
        data=dict(fields.object("data").values),
        source=dict(fields.object("source").values),
        versions=dict(fields.object("versions").values),
        files=_files(fields.object("files")),
        schema_version=version,
    )
    _check_models(fields, metadata)
    return metadata


def _name(fields: Fields, name: str) -> str:
    value = fields.text(name, wanted=NAME_RULE)
    if not NAME.fullmatch(value):
        fields.refuse(name, NAME_RULE)
    return value


def _moment(fields: Fields, name: str) -> str:
    wanted = "a date and time such as 2026-11-02T10:00:00+00:00"
    value = fields.text(name, wanted=wanted)
    if not MOMENT.fullmatch(value):
        fields.refuse(name, wanted)
    try:
        datetime.fromisoformat(value)
    except ValueError:  # such as the 30th of February
        fields.refuse(name, wanted)
    return value


def _temperature(fields: Fields) -> float | None:
    if fields.values.get("temperature", 0) is None:
        return None
    value = fields.number("temperature")
    if value <= 0:
        fields.refuse("temperature", "a number above 0, or null")
    return value


def _picture_input(fields: Fields) -> PictureInput:
    fields.only(*PictureInput.__dataclass_fields__)
    if fields.values.get("channels") not in (1, 3):
        fields.refuse("channels", "1 or 3")
    height, width = fields.integer("height", minimum=1), fields.integer("width", minimum=1)
    return PictureInput(
        height=height,
        width=width,
        channels=fields.integer("channels"),
        resize=fields.choice("resize", RESIZE_RULES),
        decoded_size=fields.integer("decoded_size", minimum=max(height, width)),
    )


def _model_file(fields: Fields) -> ModelFile:
    fields.only(*ModelFile.__dataclass_fields__)
    metrics = fields.object("metrics")
    return ModelFile(
        file=_name(fields, "file"),
        precision=fields.choice("precision", PRECISIONS),
        bytes=fields.integer("bytes", minimum=1),
        metrics={split: metrics.numbers(split) for split in metrics},
        details=dict(fields.object("details").values),
    )


def _files(fields: Fields) -> dict[str, FileFacts]:
    facts = {}
    for name in fields:
        if not all(NAME.fullmatch(part) for part in name.split("/")):
            raise BundleError(f"{fields.path}: {name!r} in files is not a plain path inside the bundle", hint=AGAIN)
        one = fields.object(name)
        one.only(*FileFacts.__dataclass_fields__)
        if not SHA256.fullmatch(one.text("sha256")):
            one.refuse("sha256", "64 hexadecimal digits")
        facts[name] = FileFacts(sha256=one.text("sha256"), bytes=one.integer("bytes"))
    return facts


def _check_models(fields: Fields, metadata: Metadata) -> None:
    """What several fields say about the model files has to fit together."""
    precisions = [model.precision for model in metadata.models]
    if metadata.default not in precisions:
        fields.refuse("default", f"the precision of one of the models ({', '.join(precisions)})")
    for row, (model, each) in enumerate(zip(metadata.models, fields.objects("models"), strict=True)):
        if model.precision in precisions[:row]:
            each.refuse("precision", "another one for each model")
        if model.file not in metadata.files:
            each.refuse("file", "one of files")
        if model.bytes != metadata.files[model.file].bytes:
            each.refuse("bytes", f"{metadata.files[model.file].bytes}, as files says")


def _plain(value: Any) -> Any:
    """A value in terms of JSON: numpy's numbers, paths and tuples included."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
