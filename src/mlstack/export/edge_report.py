"""What a bundle for a device costs and gains, against the one that it was made of; measured on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mlstack.bundle.folder import Bundle
from mlstack.bundle.metadata import ModelFile
from mlstack.config.trainer import LESS_IS_BETTER
from mlstack.export.bundle_data import PRIMARY
from mlstack.export.device import Device
from mlstack.export.edge import USABLE
from mlstack.export.latency import Timed, latencies
from mlstack.export.quantize import points
from mlstack.reports.bundle_rows import shown_size
from mlstack.reports.tables import Cell, table
from mlstack.runs import RunFolder
from mlstack.utils.hardware import usable_cores

SECONDS = 1.0  # for each model file
Scores = Mapping[str, float | None]


def report(
    before: Bundle,
    after: Bundle,
    *,
    scores: Mapping[str, Sequence[Scores]],
    device: Device,
    machine: str,
    max_drop: float,
) -> str:
    """A table of both bundles' files, what the device has room for, and a loud line where accuracy is lost.

    Args:
        before: The bundle that was started from.
        after: The one that was made.
        scores: What the files of `before` reach by split; empty where nothing was measured.
        device: For which it was made.
        machine: On which it is measured, in words.
        max_drop: Points of accuracy (of a regression, percent of the error) from which a loss is called one.
    """
    metric = PRIMARY[before.metadata.task]
    threads = min(device.threads, usable_cores())
    files = [(bundle, row) for bundle in (before, after) for row in range(len(bundle.metadata.models))]
    timed = [_timed(bundle, row, after.metadata.batch or 1, threads) for bundle, row in files]
    rows: list[list[Cell]] = []
    for (bundle, row), found in zip(files, latencies(timed, seconds=SECONDS), strict=True):
        model, picture = bundle.metadata.models[row], bundle.metadata.input
        known = {split: scores[split][row] for split in scores} if bundle is before else dict(model.metrics)
        served = " (served)" if model.precision == bundle.metadata.default else ""
        rows.append(
            [
                "before" if bundle is before else "after",
                f"{model.precision}{served}",
                f"{picture.height}x{picture.width}",
                *(_shown(known.get(split, {}).get(metric), metric) for split in ("val", "test")),
                shown_size(model.bytes),
                f"{found.p50:.2f}",
                f"{found.p95:.2f}",
                round(found.images_per_second),
            ]
        )
    header = ["bundle", "file", "pictures", f"{metric} val", f"{metric} test", "MB", "p50 ms", "p95 ms", "images/s"]
    count = after.metadata.batch
    how = f"{count} picture{'s' if count != 1 else ''} a call, {threads} thread{'s' if threads > 1 else ''}"
    lines = [table(header, rows), "", f"times: {how}, measured on {machine}; on the {device.title}: not measured"]
    lines.append(_memory_line(float(after.metadata.source["edge"]["memory_mb"]), device))
    return "\n".join([*lines, *losses(before, after, scores, max_drop=max_drop)])


def losses(before: Bundle, after: Bundle, scores: Mapping[str, Sequence[Scores]], *, max_drop: float) -> list[str]:
    """A line for each split on which the file that is served now is worse than the one that was served, by too much."""
    metric = PRIMARY[before.metadata.task]
    old_row = [model.precision for model in before.metadata.models].index(before.metadata.default)
    new = _served(after)
    lines = []
    for split in scores:
        old_value, new_value = scores[split][old_row].get(metric), new.metrics.get(split, {}).get(metric)
        if old_value is None or new_value is None:
            continue
        sign = -1 if metric in LESS_IS_BETTER else 1
        lost, unit = points(sign * old_value, sign * new_value), "%" if sign < 0 else "points"
        if lost > max_drop:
            change = f"{_shown(old_value, metric)} → {_shown(new_value, metric)}"
            lines.append(f"WARNING: {metric} on {split} gets worse by {lost:.2f} {unit}: {change}")
    return lines


def next_steps(bundle: Bundle, device: Device, run: RunFolder | None) -> str:
    """How the bundle gets onto the device."""
    served = bundle.path / _served(bundle).file
    lines = [f"copy {bundle.path} there and run it with ONNX Runtime, {device.threads} thread(s)"]
    if device.target == "tensorrt":
        flags = {"int8": " --int8", "fp16": " --fp16"}.get(_served(bundle).precision, "")
        lines = [
            "an engine is built on the device itself, for its GPU; its TensorRT has to know uint8 inputs:",
            f"  trtexec --onnx={served.name}{flags} --saveEngine=model.engine",
            *lines,
        ]
    elif device.target == "openvino":
        lines = [f"OpenVINO reads {served} as it is", *lines]
    elif device.target != "onnx":
        size = bundle.metadata.input.height
        where = run.path if run is not None else "<the run>"
        lines = [
            f"for {device.target}, from a network trained for {size}x{size} pictures:",
            f"  python scripts/export.py run={where} target={device.target}",
            *lines,
        ]
    return "\n".join(lines)


def _served(bundle: Bundle) -> ModelFile:
    return next(model for model in bundle.metadata.models if model.precision == bundle.metadata.default)


def _timed(bundle: Bundle, row: int, batch: int, threads: int) -> Timed:
    picture = bundle.metadata.input
    shape = (batch, picture.height, picture.width, picture.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Timed(bundle.path / bundle.metadata.models[row].file, images, threads)


def _shown(value: float | None, metric: str) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if metric in LESS_IS_BETTER else f"{value:.2%}"


def _memory_line(found: float, device: Device) -> str:
    text = f"memory: a process with the served file needs {found:,.0f} MiB here, Python and ONNX Runtime included"
    if device.memory_mb is None:
        return f"{text}; what the device has isn't published"
    share = found / device.memory_mb
    return f"{text}: {share:.1%} of the device's {device.memory_mb:,} MiB, of which {USABLE:.0%} are taken for usable"
