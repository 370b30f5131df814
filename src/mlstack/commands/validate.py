"""`make validate`: train every shipped model for one epoch on the embedded digits, and show what came out.

Each model trains in a process of its own, as a user would start it, so that one that fails does not hide the others
and the peak memory is its own. Exit status 1 when one failed. Takes a few minutes on 2 cores.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlstack.errors import OutputError
from mlstack.reports.tables import table
from mlstack.runs import write_text

if TYPE_CHECKING:
    from mlstack.config.commands import ValidateConfig

ROOT = Path(__file__).parents[3]
TRAIN_SCRIPT = ROOT / "scripts" / "train.py"
SHIPPED = ("small_cnn", "resnet18", "resnet34", "resnet50", "efficientnet", "mobilenet_v3")
COLUMNS = ("model", "parameters", "accuracy", "seconds", "images/s", "peak memory", "result")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One model's row. What a failed run did not get to is None.

    Attributes:
        parameters: How many the network has.
        accuracy: On the test split, 0 to 1.
        seconds: Wall time of the whole process, imports included.
        images_per_second: While training.
        peak_memory_mb: Of the training process, in MB.
        reason: Why it failed; empty where it did not.
    """

    model: str
    seconds: float
    parameters: int | None = None
    accuracy: float | None = None
    images_per_second: float | None = None
    peak_memory_mb: float | None = None
    reason: str = ""


def validate(config: ValidateConfig, *, script: Path = TRAIN_SCRIPT) -> None:
    """Train each model, print the table, write `<output_dir>/validate/summary.json`.

    Args:
        config: Which models, on what, for how long.
        script: What is run for each model.

    Raises:
        OutputError: The folder can't be written.
    """
    folder = Path(config.output_dir) / "validate"
    make_folder(folder)
    models = config.models or list(SHIPPED)
    outcomes = []
    for number, model in enumerate(models, start=1):
        print(f"[{number}/{len(models)}] {model} …", flush=True)
        outcomes.append(train_one(model, config, folder, script))
    print(as_table(outcomes))
    summary = folder / "summary.json"
    write_text(summary, json.dumps([dataclasses.asdict(outcome) for outcome in outcomes], indent=2) + "\n")
    print(f"written: {summary}")
    if failed := [outcome.model for outcome in outcomes if outcome.reason]:
        print(f"failed: {', '.join(failed)}; the output of each is in {folder}/MODEL.log", file=sys.stderr)
        sys.exit(1)


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}", hint="give another output_dir=…") from error


def train_one(model: str, config: ValidateConfig, folder: Path, script: Path) -> Outcome:
    """Train `model` in a process of its own; its output goes to `<folder>/<model>.log`."""
    known = set(folder.glob("*/*/results.json"))
    settings = (f"model={model}", f"data={config.data}", f"trainer.engine={config.engine}", f"output_dir={folder}")
    limits = (f"trainer.max_epochs={config.max_epochs}", f"trainer.accelerator={config.accelerator}")
    command = [sys.executable, str(script), *settings, *limits, "trainer.progress_bar=false"]
    start = time.monotonic()
    process = subprocess.run(command, text=True, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    seconds = time.monotonic() - start
    write_text(folder / f"{model}.log", process.stdout + process.stderr)
    if process.returncode != 0:
        return Outcome(model, seconds, reason=reason_of(process.stderr, process.returncode))
    written = sorted(set(folder.glob("*/*/results.json")) - known)
    if not written:
        return Outcome(model, seconds, reason="ended well, but wrote no results.json")
    return from_results(model, seconds, json.loads(written[-1].read_text()))


def from_results(model: str, seconds: float, results: dict[str, Any]) -> Outcome:
    """The row of a run that ended well."""
    return Outcome(
        model,
        seconds,
        parameters=results["parameters"],
        accuracy=results["metrics"]["test"]["accuracy"],
        images_per_second=results["images_per_second"],
        peak_memory_mb=results["peak_memory_mb"],
    )


def reason_of(stderr: str, status: int) -> str:
    """The line that tells most: a message's first one, a traceback's last one."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    if not lines:
        return f"exit status {status}, no message"
    return lines[-1] if any(line.startswith("Traceback") for line in lines) else lines[0]


def as_table(outcomes: list[Outcome]) -> str:
    """One line a model, columns aligned."""
    return table(COLUMNS, [as_row(outcome) for outcome in outcomes])


def as_row(outcome: Outcome) -> tuple[str, ...]:
    def show(number: float | None, form: str) -> str:
        return "–" if number is None else form.format(number)

    return (
        outcome.model,
        show(outcome.parameters, "{:,}"),
        show(outcome.accuracy, "{:.4f}"),
        show(outcome.seconds, "{:.1f}"),
        show(outcome.images_per_second, "{:,.0f}"),
        show(outcome.peak_memory_mb, "{:,.0f} MB"),
        f"failed: {outcome.reason}" if outcome.reason else "ok",
    )
