"""Wrap an ONNX classifier that somebody else has made into a bundle.

    python scripts/export.py onnx=model.onnx images=photos/ classes=classes.txt
    python scripts/export.py onnx=model.onnx images=photos/ color=bgr 'mean=[0.5,0.5,0.5]' 'std=[0.5,0.5,0.5]'

It takes pictures [batch, channel, height, width], or channel last where its dimensions say so, float32 or float16, and
answers with a number for each class. `mean` and `std` stand in the order of its own channels. What it answers stays as
it is: no temperature is fitted.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mlstack.bundle.answers import MEASURED, relative_error
from mlstack.bundle.folder import seal, write_bundle
from mlstack.bundle.metadata import Metadata, ModelFile, PictureInput, plain_name
from mlstack.bundle.reference import MAX_GOLDEN, REFERENCE, Reference, count_classes, light_of, write_reference
from mlstack.bundle.session import Session, SessionAnswers
from mlstack.config.export import ExportConfig
from mlstack.datasets.decode import decoded_side
from mlstack.errors import ExportError
from mlstack.export.contract import check_contract
from mlstack.export.graph import complete
from mlstack.export.model_card import write_card
from mlstack.export.own_core import core_of
from mlstack.export.own_file import read_own_file
from mlstack.export.own_frame import CALL, frame_of, given_answers, softmax
from mlstack.export.own_pictures import OwnPictures, read_classes, read_pictures
from mlstack.export.own_report import Wrapped, closing, opening, source_of
from mlstack.export.parity import compare
from mlstack.export.quantize import quantize
from mlstack.export.run_bundle import plain_scores
from mlstack.metrics import score
from mlstack.provenance import installed_versions
from mlstack.reports.guarded import guarded
from mlstack.reports.pictures import draw_file_predictions, draw_predictions
from mlstack.utils.console import say

TASK = "classification"
PACKAGES = ("mlstack", "onnx", "onnxruntime", "numpy")
FILES = {"int8": "model.int8.onnx", "dynamic": "model.dynamic.onnx", "fp16": "model.fp16.onnx"}
HALF_DIGITS = 10  # times max_error for a file in float16, which has three digits


def export_own(config: ExportConfig) -> Path:
    """Wrap `config.onnx` into a bundle: compared with the file itself, quantised where asked, with a model card.

    Args:
        config: The settings; `onnx` is given.

    Returns:
        The bundle's folder: `output=`, or `<output_dir>/own/<name of the file>/bundle`, where `latest` finds it.

    Raises:
        ExportError: A file that can't be wrapped, or a bundle that would answer otherwise; none is written then.
        DataError: `images=` names no picture, or one can't be read.
        ConfigError: A mean or a size that doesn't fit the file.
        OutputError: The folder can't be written.
    """
    assert config.onnx is not None
    own = read_own_file(Path(config.onnx).expanduser())
    frame = frame_of(own, config)
    noise = np.random.default_rng(0).integers(0, 256, (3, frame.size, frame.size, frame.channels), np.uint8)
    core = core_of(own, frame.pixels(noise), channel_last=frame.channel_last, answers=config.answers)
    classes = read_classes(Path(config.classes).expanduser() if config.classes else None, core.classes)
    pictures = read_pictures(config, classes, size=frame.size, channels=frame.channels)
    wrapped = Wrapped(config, own, frame, core, classes, pictures)
    say(opening(wrapped))
    output = config.output or Path(config.output_dir) / "own" / plain_name(config.name or own.path.stem) / "bundle"
    folder = Path(output).expanduser()
    with write_bundle(folder) as staging:
        metadata = _fill(staging, wrapped)
        write_card(staging, metadata)
        metadata = seal(staging, metadata)
    say(closing(folder, metadata))
    return folder


def _fill(staging: Path, wrapped: Wrapped) -> Metadata:
    """Write the model files, reference.npz and a figure; everything about them that metadata.json will say."""
    config, own, frame, pictures = wrapped.config, wrapped.own, wrapped.frame, wrapped.pictures
    model = staging / "model.onnx"
    onnx.save(_completed(wrapped), model)
    check_contract(model)
    answers = _asked(model, pictures.judged)
    parity = _parity(wrapped, answers)
    _write_reference(staging / REFERENCE, pictures, answers)
    with guarded("figure sample_predictions could not be drawn"):
        _draw(staging / "figures" / "sample_predictions.png", wrapped, answers.output)
    models = [ModelFile(model.name, "fp32", 0, _scores(answers.output, pictures), {})]
    if config.quantize.mode != "none":
        models.append(_smaller(staging, wrapped, answers.output))
    stem = plain_name(config.name or own.path.stem)
    now = datetime.now(UTC)
    return Metadata(
        name=stem,
        version=plain_name(config.version or now.strftime("%Y-%m-%d_%H-%M-%S")),
        created_at=now.isoformat(),
        task=TASK,
        input=PictureInput(
            frame.size, frame.size, frame.channels, config.resize, decoded_side(frame.size, config.resize)
        ),
        output="probabilities",
        classes=wrapped.classes,
        features=wrapped.core.features,
        batch=wrapped.core.batch,
        models=tuple(models),
        default=models[-1].precision if config.quantize.mode in ("int8", "dynamic") else "fp32",
        temperature=None,
        calibration={},
        parity=parity,
        data={},
        source=source_of(wrapped),
        versions=installed_versions(PACKAGES),
        files={},
    )


def _completed(wrapped: Wrapped) -> onnx.ModelProto:
    """The bundle's graph; where the file takes one batch only, with that batch."""
    frame, core = wrapped.frame, wrapped.core
    model = complete(
        core.model,
        mean=frame.mean,
        std=frame.std,
        channels=frame.channels,
        height=frame.size,
        width=frame.size,
        task=TASK,
        color="bgr" if frame.bgr else "rgb",
        answers=core.answers,
    )
    if core.batch is not None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = core.batch
    return model


def _asked(model: Path, images: NDArray[np.uint8]) -> SessionAnswers:
    """What a model file answers, some pictures at a time."""
    session = Session(model)
    parts = [session.run(images[start : start + CALL]) for start in range(0, len(images), CALL)]
    return SessionAnswers(
        np.concatenate([part.output for part in parts]), np.concatenate([part.features for part in parts])
    )


def _parity(wrapped: Wrapped, answers: SessionAnswers) -> dict[str, Any]:
    """Compare with what the file itself answers.

    Raises:
        ExportError: The difference is larger than `max_error`, or a clear decision is another one.
    """
    config, pictures = wrapped.config, wrapped.pictures
    given = given_answers(wrapped.own, wrapped.frame, pictures.judged, batch=wrapped.core.batch)
    expected = softmax(given) if config.answers == "logits" else given
    allowed = config.max_error * (HALF_DIGITS if wrapped.own.dtype == "float16" else 1)
    # The file answers no features: there is nothing to compare them with.
    parity = compare(expected, answers.features, answers.output, answers.features, task=TASK)
    if reason := parity.failure(allowed):
        raise ExportError(
            f"the bundle would not answer as {wrapped.own.path} does on {parity.images:,} pictures: {reason}",
            hint="nothing was written; where so large a difference is meant to be allowed: max_error=<number>",
        )
    facts = {name: value for name, value in parity.facts().items() if name not in ("output_error", "feature_error")}
    reference = f"{wrapped.own.path.name} in ONNX Runtime, preprocessing in NumPy"
    return {"source": pictures.source, "reference": reference, **facts, "max_error": allowed}


def _scores(output: NDArray[np.float32], pictures: OwnPictures) -> dict[str, dict[str, float]]:
    """Metrics by split, where labels are known; they count as `val`."""
    return {"val": plain_scores(score(TASK, output, pictures.labels))} if len(pictures.labels) else {}


def _smaller(staging: Path, wrapped: Wrapped, exact: NDArray[np.float32]) -> ModelFile:
    """Quantise, judged by accuracy where labels are known, else by how often the class stays the same."""
    settings, pictures = wrapped.config.quantize, wrapped.pictures
    path = staging / FILES[settings.mode]
    truth: NDArray[np.int64] = pictures.labels if len(pictures.labels) else exact.argmax(axis=1)

    def share_right(model: Path) -> float:
        return float((_asked(model, pictures.judged).output.argmax(axis=1) == truth).mean())

    baseline = float((exact.argmax(axis=1) == truth).mean())
    made = quantize(
        staging / "model.onnx",
        path,
        settings=settings,
        calibration=pictures.calibration if len(pictures.calibration) else pictures.judged,
        score=share_right,
        baseline=baseline,
    )
    output = _asked(path, pictures.judged).output
    details = {
        **made.details,
        "left_out": list(made.left_out),
        "quantized": made.quantized,
        "judged_by": "accuracy" if len(pictures.labels) else "the same class as model.onnx",
        "agreement": float((output.argmax(axis=1) == exact.argmax(axis=1)).mean()),
        MEASURED: relative_error(output[:MAX_GOLDEN], exact[:MAX_GOLDEN]),
    }
    return ModelFile(path.name, made.precision, 0, _scores(output, pictures), details)


def _write_reference(path: Path, pictures: OwnPictures, answers: SessionAnswers) -> None:
    brightness, contrast = light_of(pictures.judged)
    features = answers.features.astype(np.float16)
    golden = (pictures.judged[:MAX_GOLDEN], answers.output[:MAX_GOLDEN])
    counts = count_classes(answers.output, TASK)
    write_reference(path, Reference(*golden, answers.output, features, brightness, contrast, pictures.labels, *counts))


def _draw(path: Path, wrapped: Wrapped, output: NDArray[np.float32]) -> None:
    pictures, classes = wrapped.pictures, wrapped.classes
    if len(pictures.labels):
        draw_predictions(pictures.judged, output, pictures.labels, classes, path)
    elif pictures.names:
        draw_file_predictions(pictures.judged, output, pictures.names, classes, path)
