"""Experimental targets, whose packages conflict with ours or are large: converted in an environment of their own.

Each starts from an exported program of a run's network (`engines/network_files.py`) for one picture a call, or as many
as the bundle is fixed to, and is written by a program of the engine's folder that imports nothing of this package.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlstack.bundle.session import SessionAnswers
from mlstack.engines.network_files import check_network_files, network_files
from mlstack.errors import ExportError
from mlstack.export.targets.base import Converted, Model, Request, needs_run
from mlstack.export.targets.environment import environment
from mlstack.runs import RunFolder

NETWORK, PICTURES, ANSWERS, REPORT = "network.pt2", "pictures.npy", "answers.npz", "report.json"


@dataclass(frozen=True)
class Separate:
    """A target with an environment of its own.

    Attributes:
        name: Of the target.
        file: What it writes.
        pins: What its environment holds besides the main one's packages.
        megabytes: What that takes on the disk.
        how: How the file is run on this machine; empty where it can't be.
        unchecked: What nobody knows after the conversion, in words.
        pixels: Type of the input, `uint8` or `float32`.
    """

    name: str
    file: str
    pins: tuple[str, ...]
    megabytes: int
    how: str
    unchecked: tuple[str, ...]
    pixels: str = "uint8"

    def check(self, run: RunFolder | None) -> None:
        """Refuse a bundle whose network is not torch's. See `targets.check`."""
        engine = needs_run(run, self.name).read_config().trainer.engine
        check_network_files(engine, needed_for=f"target={self.name}")

    def convert(self, request: Request) -> Converted:
        """Write the file and, where its runtime runs here, ask it about the request's pictures."""
        run = needs_run(request.run, self.name)
        config, metadata = run.read_config(), request.bundle.metadata
        files = network_files(config.trainer.engine, needed_for=f"target={self.name}")
        python = environment(self.name, self.pins, megabytes=self.megabytes)
        network = files.network_of(config, run, checkpoint=request.config.checkpoint, temperature=metadata.temperature)
        network.write_program(request.folder / NETWORK, batch=metadata.batch or 1, pixels=self.pixels)
        np.save(request.folder / PICTURES, request.images)
        report = _run(python, files.PROGRAMS / f"to_{self.name}.py", request.folder)
        answers = _answers(request.folder / ANSWERS) if self.how else None
        for name in (NETWORK, PICTURES, ANSWERS, REPORT):
            (request.folder / name).unlink(missing_ok=True)
        model = Model(file=self.file, answers=answers, milliseconds=report.get("milliseconds"), how=self.how)
        return Converted(
            models=(model,), versions=report["versions"], checked=_ends(report, request), unchecked=self.unchecked
        )


def _run(python: Path, program: Path, folder: Path) -> dict[str, Any]:
    """Let a program convert what lies in a folder; its report.

    Raises:
        ExportError: It failed; the line has the last one that it said.
    """
    command = [str(python), str(program), *(str(folder / name) for name in (NETWORK, PICTURES)), str(folder)]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # One thread, as every latency here is measured.
    answer = subprocess.run(command, capture_output=True, text=True, env={**own, "OMP_NUM_THREADS": "1"})
    if answer.returncode:
        said = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
        raise ExportError(f"{program.stem.replace('_', ' ')} failed: {said[-1] if said else 'it gave no reason'}")
    report: dict[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    return report


def _answers(path: Path) -> SessionAnswers:
    with np.load(path) as arrays:
        return SessionAnswers(output=arrays["outputs"], features=arrays["features"])


def _ends(report: dict[str, Any], request: Request) -> tuple[str, ...]:
    """What a file that can't be run here takes and answers, where the program has read that back.

    Raises:
        ExportError: It is not what the bundle takes and answers.
    """
    if "input" not in report:
        return ()
    metadata = request.bundle.metadata
    batch = metadata.batch or 1
    picture = [batch, metadata.input.height, metadata.input.width, metadata.input.channels]
    wanted = {"output": [batch, len(metadata.classes)], "features": [batch, metadata.features]}
    if list(report["input"].values()) != [picture] or report["output"] != wanted:
        raise ExportError(
            f"the file takes {report['input']} and answers {report['output']}, not {picture} and {wanted}"
        )
    return (f"takes {report['input']}, answers {report['output']}",)


COREML = Separate(
    name="coreml",
    file="model.mlpackage",
    pins=("coremltools==9.0", "cattrs==26.2.1", "pyaml==26.7.0"),
    megabytes=30,
    how="",
    unchecked=("its predictions and their time: Core ML runs on macOS and iOS only",),
    pixels="float32",
)
EXECUTORCH = Separate(
    name="executorch",
    file="model.pte",
    pins=("executorch==1.5.1", "torchao==0.18.0", "tabulate==0.10.0"),
    megabytes=160,
    how="ExecuTorch's Python runtime, XNNPACK on the CPU",
    unchecked=("Android, iOS and microcontrollers",),
)
LITERT = Separate(
    name="litert",
    file="model.tflite",
    pins=(
        "litert-torch==0.9.4",
        "ai-edge-litert==2.2.0",
        "ai-edge-quantizer==0.9.0",
        "backports.strenum==1.2.8",
        "immutabledict==4.2.1",
        "jax==0.10.2",
        "jaxlib==0.10.2",
        "litert-converter==0.4.0",
        "torchao==0.18.0",
    ),
    megabytes=760,
    how="LiteRT's Python runtime, XNNPACK on the CPU",
    unchecked=("Android, iOS and microcontrollers",),
)
