"""From a finished run to a bundle: exported, calibrated, compared with the network, measured, quantised, described.

run ─ engine.export_onnx ─► core ─ complete ─► model.onnx ─ quantize ─► model.int8.onnx
                             │ logits of val     │ against engine.answers on parity_images of val
                             ▼                   ▼
                         temperature           parity          a bundle that differs is not written
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mlstack.bundle.answers import MEASURED, relative_error
from mlstack.bundle.folder import seal, write_bundle
from mlstack.bundle.metadata import Metadata, ModelFile, PictureInput, plain_name
from mlstack.bundle.reference import MAX_GOLDEN, REFERENCE, Reference, count_classes, light_of, write_reference
from mlstack.bundle.session import Session, SessionAnswers
from mlstack.config import Config
from mlstack.config.export import ExportConfig
from mlstack.datasets import Dataset
from mlstack.engines import Engine
from mlstack.errors import ExportError
from mlstack.export.bundle_data import PRIMARY, HeldOut, hold_out, score_files
from mlstack.export.contract import check_contract
from mlstack.export.graph import OUTPUTS, complete
from mlstack.export.model_card import write_card
from mlstack.export.parity import Parity, compare
from mlstack.export.pictures import HeldOutSource, ask, calibration_images
from mlstack.export.quantize import quantize
from mlstack.export.temperature import activated, calibration_error, fit_temperature
from mlstack.metrics import Scores, score
from mlstack.provenance import PACKAGES, git_state, installed_versions
from mlstack.runs import RunFolder
from mlstack.utils.hardware import usable_cores

FILES = {"int8": "model.int8.onnx", "dynamic": "model.dynamic.onnx", "fp16": "model.fp16.onnx"}
EXPORTERS = ("onnx", "onnxruntime", "onnxscript", "paddle2onnx")
JUDGED = 5000  # pictures of val that decide about each layer that is quantised


@dataclass(frozen=True)
class Job:
    """All that an export starts from.

    Attributes:
        config: Of the export.
        settings: The run's, for one device of this machine, in 32 bits.
        run: Its folder.
        engine: Of the run; it has checked the settings.
        dataset: The run's data.
    """

    config: ExportConfig
    settings: Config
    run: RunFolder
    engine: Engine
    dataset: Dataset

    @property
    def task(self) -> str:
        return self.settings.data.task


@dataclass(frozen=True)
class Calibrated:
    """What val's logits came to.

    Attributes:
        temperature: What they are divided by; None where nothing was fitted.
        outputs: By split: float32 [n, answer], the bundle's answers.
        errors: Calibration errors as metadata.json says them.
    """

    temperature: float | None
    outputs: dict[str, NDArray[np.float32]]
    errors: dict[str, float]


def export_run(job: Job, folder: Path) -> Metadata:
    """Write a run's bundle, whole or not at all.

    Args:
        job: What to export.
        folder: Where the bundle is to be.

    Raises:
        ExportError: The network can't become ONNX, the bundle would answer otherwise than it, or `quantize.max_drop`
            can't be kept.
        RunError: The run has no such checkpoint.
        DataError: A picture can't be read.
        OutputError: The folder can't be written.
    """
    with write_bundle(folder) as staging:
        metadata = _fill(staging, job)
        write_card(staging, metadata, run=job.run)
        return seal(staging, metadata)


def _fill(staging: Path, job: Job) -> Metadata:
    model = staging / "model.onnx"
    calibrated = _write_model(model, job)
    checked = hold_out(job.dataset, "val", limit=job.config.parity_images)
    answers = ask(Session(model, threads=usable_cores()), checked, words="compare")
    parity = _parity(job, checked, answers, calibrated.temperature or 1.0)
    counts = count_classes(calibrated.outputs["val"], job.task)
    golden = _write_reference(staging / REFERENCE, checked, answers, Session(model), counts)
    metrics = {
        split: plain_scores(score(job.task, outputs, job.dataset.splits[split].labels))
        for split, outputs in calibrated.outputs.items()
    }
    models = [ModelFile(model.name, "fp32", 0, metrics, {})]
    if job.config.quantize.mode != "none":
        models.append(_smaller(staging, job, golden))
    return _metadata(job, models, calibrated, parity, features=answers.features.shape[1])


def _write_model(path: Path, job: Job) -> Calibrated:
    """Export the network, and complete it with the temperature that val's logits ask for."""
    data = job.settings.data
    assert data.image_size and data.channels and data.mean and data.std, "a run's settings are complete"
    shape: dict[str, Any] = {
        "mean": data.mean,
        "std": data.std,
        "channels": data.channels,
        "height": data.image_size,
        "width": data.image_size,
    }
    with TemporaryDirectory(dir=path.parent, prefix=".core") as folder:
        exported = Path(folder) / "core.onnx"
        job.engine.export_onnx(job.settings, exported, run=job.run, checkpoint=job.config.checkpoint)
        core = onnx.load(exported)
        bare = Path(folder) / "logits.onnx"
        onnx.save(complete(core, **shape, task="regression"), bare)  # of a regression answers stay as they are: logits
        calibrated = _calibrate(Session(bare, threads=usable_cores()), job)
    onnx.save(complete(core, **shape, task=job.task, temperature=calibrated.temperature or 1.0), path)
    check_contract(path)
    return calibrated


def _calibrate(session: Session, job: Job) -> Calibrated:
    """Fit a temperature on val, and tell what it does there and on test, where it was not fitted."""
    task, dataset = job.task, job.dataset
    splits = [split for split in ("val", "test") if len(dataset.splits[split])]
    logits = {
        split: ask(session, hold_out(dataset, split), words=f"measure {split}", features=False).output
        for split in splits
    }
    labels = {split: dataset.splits[split].labels for split in splits}
    temperature = fit_temperature(logits["val"], labels["val"], task) if job.config.calibrate else 1.0
    if temperature == 1:
        return Calibrated(None, {split: activated(logits[split], task) for split in splits}, {})
    outputs = {split: activated(logits[split] / np.float32(temperature), task) for split in splits}
    errors = {}
    for split in splits:
        prefix = "" if split == "val" else f"{split}_"
        before = activated(logits[split], task)
        errors[f"{prefix}error_before"] = calibration_error(before, labels[split], task)
        errors[f"{prefix}error_after"] = calibration_error(outputs[split], labels[split], task)
    return Calibrated(temperature, outputs, errors)


def _parity(job: Job, checked: HeldOut, answers: SessionAnswers, temperature: float) -> dict[str, Any]:
    """Compare with the network in its framework.

    Raises:
        ExportError: The bundle answers otherwise.
    """
    source = HeldOutSource(checked, batch_size=job.settings.data.batch_size)
    own = job.engine.answers(job.settings, source, run=job.run, checkpoint=job.config.checkpoint)
    expected = activated(own.logits / np.float32(temperature), job.task)
    parity: Parity = compare(expected, own.features, answers.output, answers.features, task=job.task)
    if reason := parity.failure(job.config.max_error):
        name = job.settings.model.target or job.settings.model.name
        raise ExportError(
            f"the bundle would not answer as {name} does on {parity.images:,} val images: {reason}",
            hint="nothing was written; what a network does by way of NumPy, .item() or random numbers is lost in ONNX\n"
            "where so large a difference is meant to be allowed: max_error=<number>",
        )
    framework = f"{job.settings.trainer.engine}, {job.settings.trainer.accelerator}, 32 bits"
    return {
        "source": f"{job.dataset.name}, val",
        "reference": f"the network in {framework}",
        **parity.facts(),
        "max_error": job.config.max_error,
    }


def _write_reference(
    path: Path, checked: HeldOut, answers: SessionAnswers, session: Session, counts: tuple[NDArray[np.int64], int]
) -> NDArray[np.float32]:
    """Write reference.npz about the pictures that were compared; golden ones are spread over them.

    `counts` are of the answers to all of val (`count_classes`).

    Returns:
        float32 [≤ 8, answer], the model's answers for the golden pictures.
    """
    places = np.unique(np.linspace(0, len(checked) - 1, MAX_GOLDEN).round().astype(np.int64))
    golden = np.concatenate(list(HeldOut(checked.dataset, checked.split, checked.rows[places]).images(MAX_GOLDEN)))
    golden_outputs = session.run(golden).output
    light = [light_of(images) for images in checked.images(256)]
    brightness, contrast = (np.concatenate(parts) for parts in zip(*light, strict=True))
    features = answers.features.astype(np.float16)
    arrays = (golden, golden_outputs, answers.output, features, brightness, contrast)
    write_reference(path, Reference(*arrays, np.asarray(checked.labels), *counts))
    return golden_outputs


def _smaller(staging: Path, job: Job, golden_outputs: NDArray[np.float32]) -> ModelFile:
    """Quantise the model, judged by val.

    Raises:
        ExportError: `quantize.max_drop` can't be kept.
    """
    settings, dataset, metric = job.config.quantize, job.dataset, PRIMARY[job.task]
    path, sign = staging / FILES[settings.mode], -1 if job.task == "regression" else 1
    judged = hold_out(dataset, "val", limit=JUDGED)

    def measured(model: Path) -> float:
        (figures,) = score_files([model], judged, threads=usable_cores())
        value = figures[metric]
        return float("-inf") if value is None else sign * value

    quantized = quantize(
        staging / "model.onnx",
        path,
        settings=settings,
        calibration=calibration_images(dataset, settings.images, seed=settings.seed),
        score=measured,
        baseline=measured(staging / "model.onnx"),
    )
    metrics = {
        split: plain_scores(score_files([path], hold_out(dataset, split), threads=usable_cores())[0])
        for split in ("val", "test")
    }
    golden = np.load(staging / REFERENCE, allow_pickle=False)["golden_images"]
    error = relative_error(Session(path).run(golden).output, golden_outputs)
    details = {**quantized.details, "left_out": list(quantized.left_out), "quantized": quantized.quantized}
    return ModelFile(path.name, quantized.precision, 0, metrics, {**details, MEASURED: error})


def _metadata(
    job: Job, models: list[ModelFile], calibrated: Calibrated, parity: dict[str, Any], *, features: int
) -> Metadata:
    config, settings, dataset = job.config, job.settings, job.dataset
    data, model = settings.data, settings.model
    assert data.image_size and data.channels and data.decoded_size, "a run's settings are complete"
    run_name = job.run.path.resolve().name
    return Metadata(
        name=plain_name(config.name or f"{data.name}_{model.name}"),
        version=plain_name(config.version or run_name),
        created_at=datetime.now(UTC).isoformat(),
        task=data.task,
        input=PictureInput(data.image_size, data.image_size, data.channels, data.resize, data.decoded_size),
        output=OUTPUTS[data.task],
        classes=dataset.classes,
        features=features,
        batch=None,
        models=tuple(models),
        default=models[-1].precision if config.quantize.mode in ("int8", "dynamic") else "fp32",
        temperature=calibrated.temperature,
        calibration=calibrated.errors,
        parity=parity,
        data={
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "images": {name: len(split) for name, split in dataset.splits.items()},
        },
        source={
            "engine": settings.trainer.engine,
            "model": model.target or model.name,
            "run": run_name,
            "checkpoint": config.checkpoint,
            "git": git_state(),
        },
        versions=installed_versions((*PACKAGES, *EXPORTERS)),
        files={},
    )


def plain_scores(scores: Scores) -> dict[str, float]:
    """Metrics as metadata.json holds them: NaN where one can't be told."""
    return {name: float("nan") if value is None else float(value) for name, value in scores.items()}


def in_32_bits(settings: Config) -> Config:
    """Settings to compare a network by: as exactly as the file computes, read by this process alone."""
    trainer = replace(settings.trainer, precision="32", compile=False)
    return replace(settings, trainer=trainer, data=replace(settings.data, num_workers=0))
