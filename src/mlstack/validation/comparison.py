"""Two stages of one commit side by side: their figures, and whether both answer alike for every picture."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlstack.errors import RunError
from mlstack.validation.report import StageReport, passed


@dataclass(frozen=True)
class Figure:
    """What both reports may hold under one name: its words, its unit, and where less is better."""

    name: str
    words: str
    unit: str
    less_is_better: bool


FIGURES = (
    Figure("images_per_second", "training speed", "images/s", less_is_better=False),
    Figure("epoch_seconds", "one epoch", "s", less_is_better=True),
    Figure("training_seconds", "whole training, imports included", "s", less_is_better=True),
    Figure("cpu_share", "use of the granted cores", "", less_is_better=False),
    Figure("peak_memory_mb", "peak memory of the training", "MiB", less_is_better=True),
    Figure("accuracy", "accuracy on test after it", "", less_is_better=False),
    Figure("start_seconds", "start of the service", "s", less_is_better=True),
    Figure("latency_ms", "one picture (containers: over HTTP)", "ms", less_is_better=True),
)


@dataclass(frozen=True)
class Row:
    """One measurement of both stages; None where a stage has not made it."""

    figure: Figure
    venv: float | None
    docker: float | None

    @property
    def ratio(self) -> float | None:
        """Docker's relative to the virtual environment's; None where one is missing or 0."""
        return self.docker / self.venv if self.venv and self.docker is not None else None


@dataclass(frozen=True)
class Agreement:
    """How alike the answers of the two stages are.

    Attributes:
        pictures: That both were asked for.
        only_one: Pictures that only one of them answered.
        other_class: Pictures with another class.
        greatest_difference: Between two probabilities of one picture; infinite where they can't be compared.
    """

    pictures: int
    only_one: list[str]
    other_class: list[str]
    greatest_difference: float

    def within(self, tolerance: float) -> bool:
        """Whether every picture has the same class in both, and probabilities that differ by no more than this."""
        alike = not self.only_one and not self.other_class and self.pictures > 0
        return alike and self.greatest_difference <= tolerance


def rows(venv: StageReport, docker: StageReport) -> list[Row]:
    """The measurements that at least one of the reports holds."""
    found = [
        Row(figure, number(venv.measurements.get(figure.name)), number(docker.measurements.get(figure.name)))
        for figure in FIGURES
    ]
    return [row for row in found if row.venv is not None or row.docker is not None]


def compare_answers(venv: Mapping[str, Any], docker: Mapping[str, Any]) -> Agreement:
    """Hold the predictions of the two stages against each other, picture by picture."""
    common = sorted(venv.keys() & docker.keys())
    other = [name for name in common if venv[name].get("class") != docker[name].get("class")]
    differences = [_difference(venv[name], docker[name]) for name in common]
    return Agreement(len(common), sorted(venv.keys() ^ docker.keys()), other, max(differences, default=0.0))


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Infinite where there is nothing to compare: other classes, no probabilities, NaN."""
    first, second = one.get("probabilities"), other.get("probabilities")
    if not isinstance(first, dict) or not isinstance(second, dict) or not first or first.keys() != second.keys():
        return math.inf
    pairs = [(number(first[name]), number(second[name])) for name in first]
    return max(math.inf if a is None or b is None else abs(a - b) for a, b in pairs)


def read_predictions(report: StageReport, path: Path) -> dict[str, Any]:
    """The answers that stand beside a report.

    Args:
        report: It names the file.
        path: Of the report.

    Raises:
        RunError: There are none, or they can't be read.
    """
    if report.predictions is None:
        raise RunError(f"{path} names no predictions: the stage did not get that far")
    file = path.parent / report.predictions
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"{file} can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise RunError(f"{file} is damaged: {error}") from error
    if not isinstance(content, dict) or not all(isinstance(answer, dict) for answer in content.values()):
        raise RunError(f"{file} holds no predictions: an object for each picture is expected")
    return content


def complaints(venv: StageReport, docker: StageReport, agreement: Agreement, *, tolerance: float) -> list[str]:
    """Why the two are not the same thing, a line each; empty where they are."""
    lines = []
    for report in (venv, docker):
        if not passed(report):
            failed = [one.name for one in report.criteria if one.status == "fail"]
            lines.append(f"stage {report.stage} failed: {', '.join(failed) or 'nothing was checked'}")
    if agreement.pictures == 0:
        lines.append("no picture was asked in both stages")
    if agreement.only_one:
        lines.append(f"answered in one stage only: {listed(agreement.only_one)}")
    if agreement.other_class:
        lines.append(f"another class: {listed(agreement.other_class)}")
    elif agreement.greatest_difference > tolerance:
        lines.append(f"probabilities differ by up to {agreement.greatest_difference:.2g}, tolerance={tolerance:g}")
    return lines


def warnings(venv: StageReport, docker: StageReport) -> list[str]:
    """What a reader has to know beside the verdict."""
    lines = []
    if venv.commit != docker.commit:
        lines.append(f"commits differ: {venv.commit[:12] or 'unknown'} and {docker.commit[:12] or 'unknown'}")
    if dirty := [report.stage for report in (venv, docker) if report.dirty]:
        lines.append(f"uncommitted changes in stage {' and '.join(dirty)}: the commit does not say all")
    if venv.dry_run:
        lines.append("stage venv was a dry run: it says nothing about a GPU")
    words = [report.measurements.get("training_words") for report in (venv, docker)]
    if all(isinstance(one, list) for one in words) and words[0] != words[1]:
        shown = " and ".join(" ".join(map(str, one or [])) for one in words)
        lines.append(f"the trainings differ, and their speeds with them: {shown}")
    if venv.profile != docker.profile:
        lines.append(f"profiles differ: {venv.profile} and {docker.profile}")
    return lines


def listed(names: list[str], *, most: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def number(value: Any) -> float | None:
    """A finite number of a report; None for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
