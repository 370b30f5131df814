"""A bundle for a small device: fixed in size and number of pictures, of the precision that the device computes fast."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.folder import Bundle, read_bundle, seal, write_bundle
from mlstack.bundle.metadata import ModelFile
from mlstack.bundle.reference import REFERENCE, Reference, light_of, read_reference, write_reference
from mlstack.bundle.session import Session
from mlstack.config.export import QuantizeConfig
from mlstack.errors import ExportError
from mlstack.export.bundle_data import PRIMARY, HeldOut, picture_input, score_files
from mlstack.export.device import Device
from mlstack.export.memory import peak_memory
from mlstack.export.model_card import write_card
from mlstack.export.quantize import quantize
from mlstack.export.resize_input import resize_input
from mlstack.metrics import Scores

FILES = {
    "fp32": "model.onnx",
    "int8": "model.int8.onnx",
    "int8_dynamic": "model.dynamic.onnx",
    "fp16": "model.fp16.onnx",
}
MODES = {"int8": "int8", "int8_dynamic": "dynamic", "fp16": "fp16", "fp32": "none"}
USABLE = 0.5  # of a device's memory: the rest is for its system, the camera, the program around the model


@dataclass(frozen=True)
class Plan:
    """What is to be made.

    Attributes:
        bundle: The one to start from, of any number of pictures a call.
        device: For which.
        size: Height and width of the pictures, in pixels.
        batch: Pictures a call.
        precision: Of the model file that is served; `fp32` is always there too.
        settings: How it is quantised; `mode` is that of `precision`.
        calibration: uint8 [n, size, size, channel]; empty where nothing is calibrated.
        held_out: Pictures with labels by split, in the new size; empty where the data are not here.
        may_fall_back: Whether fp32 is served where the accuracy budget can't be kept.
        say: Told what a user should know.
    """

    bundle: Bundle
    device: Device
    size: int
    batch: int
    precision: str
    settings: QuantizeConfig
    calibration: NDArray[np.uint8]
    held_out: Mapping[str, HeldOut]
    may_fall_back: bool
    say: Callable[[str], None]


def make_edge_bundle(plan: Plan, output: Path) -> Bundle:
    """Write a bundle for a device, whole or not at all.

    Raises:
        ExportError: The network does not fit the size, the budget of accuracy can't be kept, or the device's memory is
            too small.
        OutputError: The folder can't be written.
    """
    with write_bundle(output) as staging:
        files = _make_files(plan, staging)
        memory = _check_memory(plan, staging / files[-1].file)
        golden = _pictures(plan)
        answers = Session(staging / FILES["fp32"]).run(golden)
        _write_reference(plan, staging, golden)
        source = plan.bundle.metadata
        facts = {
            "device": plan.device.name,
            "from": f"{source.name} {source.version}",
            "input_size_before": [source.input.height, source.input.width],
            "threads": plan.device.threads,
            "memory_mb": round(memory, 1),
        }
        metadata = replace(
            source,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            input=picture_input(source.input, plan.size),
            features=answers.features.shape[1],
            batch=plan.batch,
            models=tuple(files),
            default=files[-1].precision,
            parity={} if plan.size != source.input.height else source.parity,
            source={**source.source, "edge": facts},
        )
        metadata = replace(metadata, models=tuple(_with_metrics(plan, staging, files)))
        write_card(staging, metadata)
        seal(staging, metadata)
    return read_bundle(output)


def _make_files(plan: Plan, staging: Path) -> list[ModelFile]:
    """The model files, fp32 first; quantised while any number of pictures fits, then fixed to `plan.batch`."""
    free = staging / "free.onnx"
    resize_input(plan.bundle.model("fp32"), free, height=plan.size, width=plan.size)
    made: dict[str, tuple[Path, dict[str, Any]]] = {"fp32": (free, {})}
    if plan.precision != "fp32":
        quantised = staging / f"free.{plan.precision}.onnx"
        try:
            made[plan.precision] = (quantised, _quantise(plan, free, quantised))
        except ExportError as error:
            if not plan.may_fall_back:
                raise
            plan.say(f"warning: {plan.precision} is not served, fp32 is: {error.message}")
    files = []
    for precision, (path, details) in made.items():
        resize_input(path, staging / FILES[precision], height=plan.size, width=plan.size, batch=plan.batch)
        files.append(ModelFile(FILES[precision], precision, 0, {}, details))
    for path, _ in made.values():
        path.unlink()
    return files


def _quantise(plan: Plan, free: Path, output: Path) -> dict[str, Any]:
    score, baseline = _judge(plan, free)
    pictures = plan.calibration if len(plan.calibration) else _pictures(plan)
    done = quantize(free, output, settings=plan.settings, calibration=pictures, score=score, baseline=baseline)
    return {**done.details, "left_out": list(done.left_out), "score": done.score, "baseline": baseline}


def _judge(plan: Plan, free: Path) -> tuple[Callable[[Path], float], float]:
    """How good a model file is, more is better, and what the one in 32 bits reaches.

    On val with its labels; where nobody knows any, the share of pictures that are answered as in 32 bits.
    """
    metric = PRIMARY[plan.bundle.metadata.task]
    if (held_out := plan.held_out.get("val")) is not None:
        sign = -1 if metric == "mae" else 1

        def scored(path: Path) -> float:
            return sign * float(score_files([path], held_out)[0][metric] or 0.0)

        return scored, scored(free)
    pictures = plan.calibration if len(plan.calibration) else _pictures(plan)
    expected = Session(free).run(pictures).output

    def agreement(path: Path) -> float:
        return float(np.mean(Session(path).run(pictures).output.argmax(axis=1) == expected.argmax(axis=1)))

    return agreement, 1.0


def _check_memory(plan: Plan, path: Path) -> float:
    """Peak memory of a process that answers with the model, in MiB, held against the device's.

    Raises:
        ExportError: It is more than the device has.
    """
    channels = plan.bundle.metadata.input.channels
    found = peak_memory(path, (plan.batch, plan.size, plan.size, channels), threads=plan.device.threads)
    total = plan.device.memory_mb
    if total is not None and found > total:
        raise ExportError(
            f"{plan.device.title} has {total:,} MiB of memory, and a process with this model needs {found:,.0f} MiB",
            hint="take a smaller input_size=, batch_size=1, or a smaller model",
        )
    if total is not None and found > USABLE * total:
        plan.say(
            f"warning: a process with this model needs {found:,.0f} MiB, more than {USABLE:.0%} of the {total:,} MiB "
            f"of {plan.device.title}; what its system leaves may not be enough"
        )
    return found


def _pictures(plan: Plan) -> NDArray[np.uint8]:
    """Pictures to show: of val, or those of calibration, or those that the bundle brings along, enlarged or not."""
    if (held_out := plan.held_out.get("val")) is not None:
        return next(iter(held_out.images(256)))
    if len(plan.calibration):
        return plan.calibration[:256]
    known = read_reference(plan.bundle.path / REFERENCE, plan.bundle.metadata).golden_images
    rows = np.arange(plan.size) * known.shape[1] // plan.size
    return np.ascontiguousarray(known[:, rows][:, :, rows])


def _write_reference(plan: Plan, staging: Path, pictures: NDArray[np.uint8]) -> None:
    """What the model in 32 bits answers at the new size; labels where they are known."""
    answers = Session(staging / FILES["fp32"]).run(pictures)
    brightness, contrast = light_of(pictures)
    held_out = plan.held_out.get("val")
    labels: NDArray[Any] = np.zeros(0, np.int64) if held_out is None else held_out.labels[: len(pictures)]
    reference = Reference(
        golden_images=pictures[:8],
        golden_outputs=answers.output[:8],
        outputs=answers.output,
        features=answers.features.astype(np.float16),
        brightness=brightness,
        contrast=contrast,
        labels=labels,
    )
    write_reference(staging / REFERENCE, reference)


def _with_metrics(plan: Plan, staging: Path, files: list[ModelFile]) -> list[ModelFile]:
    """The files with what they reach on val and test, as they are written: fixed and quantised."""
    paths = [staging / one.file for one in files]
    found = {split: score_files(paths, held_out) for split, held_out in plan.held_out.items()}
    return [
        replace(
            one,
            bytes=paths[row].stat().st_size,
            metrics={split: _numbers(scores[row]) for split, scores in found.items()},
            details={**one.details, "measured_on": {split: len(held) for split, held in plan.held_out.items()}},
        )
        for row, one in enumerate(files)
    ]


def _numbers(scores: Scores) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in scores.items()}
