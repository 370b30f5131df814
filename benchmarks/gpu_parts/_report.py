"""What a run has found so far: gpu.json, written anew with each row, and the lines of the table.

Nothing here, nor in gpu.py, needs more than Python: a machine that lacks packages shall hear which.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpu_parts._rows import Row
from mlstack.provenance import git_state, installed_versions
from mlstack.utils.hardware import cpu_name, gpu_driver, total_memory, usable_cores

SCHEMA_VERSION = 1
PACKAGES = (
    *("torch", "torchvision", "pytorch-lightning", "triton", "numpy", "pillow", "hydra-core", "omegaconf"),
    *("onnx", "onnxscript", "onnxruntime", "onnxruntime-gpu", "tensorrt", "nvidia-ml-py"),
    *("paddlepaddle", "paddlepaddle-gpu", "scikit-learn", "matplotlib", "tensorboard", "simplejpeg", "uvloop"),
)


@dataclass
class PartReport:
    """A part, and what came out.

    Attributes:
        status: `waiting`, `running`, `ok`, `skipped`, `failed`, `cut off` (its time was over), `interrupted`.
        reason: Of every status but the first three.
        seconds: How long it ran.
    """

    name: str
    what: str
    status: str = "waiting"
    reason: str = ""
    seconds: float = 0.0
    rows: list[Row] = field(default_factory=list)


@dataclass
class RunReport:
    """All of a run.

    Attributes:
        dry: Whether it was a dry run on the CPU, whose figures say nothing about a GPU.
        finished: Whether it got to its end.
        missing: Modules that some part needs and that are not installed.
    """

    dry: bool
    created: str
    machine: dict[str, Any]
    versions: dict[str, str]
    commit: str
    missing: list[str]
    parts: list[PartReport]
    seconds: float = 0.0
    finished: bool = False

    def write(self, folder: Path) -> None:
        """gpu.json, whole or not at all."""
        text = json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, indent=1, ensure_ascii=False)
        whole = folder / ".gpu.json.part"
        whole.write_text(text + "\n", encoding="utf-8")
        whole.replace(folder / "gpu.json")


def new_report(parts: list[PartReport], missing: list[str], *, dry: bool) -> RunReport:
    """A report of a run that begins."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    versions = {"python": platform.python_version(), **installed_versions(PACKAGES)}
    return RunReport(dry, created, machine(), versions, git_state().get("commit", ""), missing, parts)


def machine() -> dict[str, Any]:
    """Processor, memory, GPUs and driver."""
    found: dict[str, Any] = {"cpu": cpu_name(), "cores": usable_cores(), "memory_gb": round(total_memory() / 1e9, 1)}
    if (driver := gpu_driver()) is not None:
        found |= {"driver": driver[0], "gpus": driver[1]}
    if (program := shutil.which("nvcc")) is not None:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split(
            "release "
        )
        found["nvcc"] = said[-1].split(",")[0]
    return found


def header(report: RunReport) -> Iterator[str]:
    """What stands above the table."""
    facts, versions = report.machine, report.versions
    gpus = f", {', '.join(facts['gpus'])} (driver {facts['driver']})" if "gpus" in facts else ""
    yield f"{facts['cores']} cores of {facts['cpu']}, {facts['memory_gb']} GB{gpus}"
    named = ("python", "torch", "pytorch-lightning", "torchvision", "numpy", "onnxruntime", "onnxruntime-gpu")
    yield ", ".join(f"{name} {versions[name]}" for name in named if name in versions)
    if report.dry:
        yield "a dry run on the CPU with tiny sizes: it shows what runs; no figure below says anything about a GPU"
    if report.missing:
        yield f"not installed here: {', '.join(report.missing)}"


def as_line(row: Row) -> str:
    """A row for readers: `  name   value unit   ratio × against   note`."""
    if row.status != "ok":
        return f"  {row.name:<58} {row.status}: {row.note}"
    ratio = "" if row.ratio is None else f"{row.ratio:.3g} × {row.against}"
    return f"  {row.name:<58} {shown(row.value):>10} {row.unit:<11} {ratio:<32} {row.note}".rstrip()


def shown(value: float | str | None) -> str:
    """Four digits; thousands with commas."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def summary(part: PartReport) -> str:
    """The line that ends a part."""
    count = {status: sum(row.status == status for row in part.rows) for status in ("ok", "skipped", "failed")}
    rows = ", ".join(f"{number} {status}" for status, number in count.items() if number)
    reason = f": {part.reason}" if part.reason else ""
    return f"  → {part.name} {part.status}{reason} ({rows or 'no rows'}, {part.seconds:.0f} s)"
