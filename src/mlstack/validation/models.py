"""Train every shipped model for a moment, each in a process of its own.

So one that fails does not hide the others, and the peak memory is its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlstack.config.commands import ValidateConfig
from mlstack.errors import MLStackError
from mlstack.reports.tables import table
from mlstack.validation.training import TRAIN_SCRIPT, train_watched

SHIPPED = ("small_cnn", "resnet18", "resnet34", "resnet50", "efficientnet", "mobilenet_v3")
COLUMNS = ("model", "parameters", "accuracy", "seconds", "images/s", "peak memory", "result")
LONGEST = 3600.0  # seconds that one model may take


@dataclass(frozen=True)
class Outcome:
    """One model's row. What a failed run did not get to is None.

    Attributes:
        parameters: How many the network has.
        accuracy: On the test split, 0 to 1.
        seconds: Wall time of the whole process, imports included; None of a failed one.
        images_per_second: While training.
        peak_memory_mb: Of the training process, in MB.
        reason: Why it failed; empty where it did not.
    """

    model: str
    seconds: float | None = None
    parameters: int | None = None
    accuracy: float | None = None
    images_per_second: float | None = None
    peak_memory_mb: float | None = None
    reason: str = ""


def train_models(
    config: ValidateConfig, folder: Path, *, accelerator: str, script: Path = TRAIN_SCRIPT
) -> list[Outcome]:
    """Train each model of `config.models`, or each shipped one; their output goes to `<folder>/<model>.log`."""
    models = config.models or list(SHIPPED)
    outcomes = []
    for number, model in enumerate(models, start=1):
        print(f"[{number}/{len(models)}] {model} …", flush=True)
        outcomes.append(train_one(model, config, folder, accelerator=accelerator, script=script))
    return outcomes


def train_one(model: str, config: ValidateConfig, folder: Path, *, accelerator: str, script: Path) -> Outcome:
    """Train one model for `config.max_epochs`."""
    settings = [f"model={model}", f"data={config.data}", f"trainer.engine={config.engine}"]
    limits = [f"trainer.max_epochs={config.max_epochs}", f"trainer.accelerator={accelerator}"]
    try:
        trained = train_watched([*settings, *limits], folder, name=model, timeout=LONGEST, script=script)
    except MLStackError as error:
        return Outcome(model, reason=error.message.removeprefix(f"training {model} ").removeprefix("failed: "))
    return from_results(model, trained.seconds, trained.results)


def from_results(model: str, seconds: float, results: dict[str, Any]) -> Outcome:
    """The row of a run that ended well."""
    return Outcome(
        model,
        seconds,
        parameters=results["parameters"],
        accuracy=results["metrics"]["test"].get("accuracy"),
        images_per_second=results["images_per_second"],
        peak_memory_mb=results["peak_memory_mb"],
    )


def as_table(outcomes: Sequence[Outcome]) -> str:
    """One line a model, columns aligned."""
    return table(COLUMNS, [as_row(outcome) for outcome in outcomes])


def as_row(outcome: Outcome) -> tuple[str, ...]:
    """A line of the table, as texts."""

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
