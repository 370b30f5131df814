"""Turn a run, or an ONNX file of one's own, into a bundle; and, where asked, into what another runtime takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mlstack.bundle.folder import Bundle, read_bundle
from mlstack.bundle.metadata import Metadata
from mlstack.commands.evaluate import on_this_machine
from mlstack.config.export import ExportConfig
from mlstack.datasets import load_dataset
from mlstack.engines import create_engine
from mlstack.export.bundle_data import PRIMARY, hold_out
from mlstack.export.run_bundle import Job, export_run, in_32_bits
from mlstack.export.targets import check, convert
from mlstack.reports.tables import table
from mlstack.runs import RunFolder, find_run
from mlstack.utils.console import say

OTHER_DATA = "note: these are not the data that the run was trained on (another fingerprint)"


def export(config: ExportConfig) -> None:
    """Write a bundle, say how it compares with the network, and what to type next.

    Raises:
        RunError: No such run, or no such checkpoint.
        DataError: The data are no longer where the run found them.
        ExportError: The network can't become a bundle that answers as it does; none is written then.
        ConfigError, MissingPackageError, HardwareError: What was asked for can't be had here.
        OutputError: The folder can't be written.
    """
    run = None if config.onnx else find_run(config.run, output_dir=config.output_dir)
    if config.target != "onnx":
        check(config.target, run=run)
    bundle = _own(config) if run is None else _of_run(config, run)
    if config.target != "onnx":
        picture = bundle.metadata.input
        images = np.empty((0, picture.height, picture.width, picture.channels), np.uint8)
        if run is not None:
            dataset = load_dataset(run.read_config().data)
            images = np.concatenate(list(hold_out(dataset, "val", limit=config.parity_images).images(256)))
        say("\n" + "\n".join(convert(config.target, bundle=bundle, run=run, images=images, config=config)))


def _own(config: ExportConfig) -> Bundle:
    """Wrap an ONNX file."""
    from mlstack.export.own_model import export_own

    return read_bundle(export_own(config))


def _of_run(config: ExportConfig, run: RunFolder) -> Bundle:
    """Export a run."""
    settings = in_32_bits(on_this_machine(run.read_config(), accelerator=config.accelerator))
    run.checkpoint(config.checkpoint)  # refused before any framework is imported
    engine = create_engine(settings.trainer.engine)
    engine.check(settings)
    dataset = load_dataset(settings.data)
    say(f"run folder  {run.path}")
    trained_on = run.read_results().get("data", {}).get("fingerprint")
    if trained_on and trained_on != dataset.fingerprint:
        say(OTHER_DATA)
    folder = Path(config.output).expanduser() if config.output else run.path / "bundle"
    metadata = export_run(Job(config, settings, run, engine, dataset), folder)
    say(f"{_findings(metadata)}\n\n{_files(metadata)}\n\nwritten: {folder}")
    named = "latest" if config.output is None and config.run == "latest" else str(folder)
    say(f"next:    python scripts/benchmark.py bundle={named}")
    say(f"         python scripts/predict.py bundle={named} input=<pictures>")
    return read_bundle(folder, verify=False)


def _findings(metadata: Metadata) -> str:
    """Parity and calibration."""
    parity = metadata.parity
    lines = [
        f"parity      {parity['images']:,} val images: relative error {parity['relative_error']:.1e} "
        f"(allowed {parity['max_error']:.0e})"
    ]
    if "agreement" in parity:
        lines[0] += f", same answer for {parity['agreement']:.2%}"
    if metadata.temperature is not None:
        errors = metadata.calibration
        parts = [f"error {errors['error_before']:.2%} → {errors['error_after']:.2%} on val, where it was fitted"]
        if "test_error_before" in errors:
            parts.append(f"{errors['test_error_before']:.2%} → {errors['test_error_after']:.2%} on test")
        lines.append(f"calibration temperature {metadata.temperature:.3f}: {'; '.join(parts)}")
    elif metadata.task != "regression":
        lines.append("calibration none: not asked for, or val has no mistakes to learn from")
    return "\n".join(lines)


def _files(metadata: Metadata) -> str:
    """A table of the model files."""
    metric = PRIMARY[metadata.task]
    rows = []
    for model in metadata.models:
        scores = [f"{model.metrics[split][metric]:.4f}" if split in model.metrics else "–" for split in ("val", "test")]
        served = "served" if model.precision == metadata.default else ""
        rows.append([model.file, model.precision, f"{model.bytes / 1e6:.2f} MB", *scores, served])
    return table(["model", "precision", "size", f"val {metric}", f"test {metric}", ""], rows)
