"""The two validation stages side by side: a table, a figure, and a verdict that is also the exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlstack.config.comparison import ComparePerformanceConfig
from mlstack.errors import ConfigError, RunError
from mlstack.reports.tables import Cell, table
from mlstack.runs import write_text
from mlstack.utils.console import say
from mlstack.validation.comparison import (
    Agreement,
    Row,
    compare_answers,
    complaints,
    number,
    read_predictions,
    rows,
    warnings,
)
from mlstack.validation.comparison_figure import draw_stages
from mlstack.validation.report import StageReport, read_report, show


def compare_performance(config: ComparePerformanceConfig) -> None:
    """Compare the reports; exit status 1 where a stage failed or an answer differs.

    Raises:
        ConfigError: A file name has another ending than its kind of file.
        RunError: A report or its predictions can't be read, or they are of different commits.
        OutputError: A file can't be written.
        SystemExit: With status 1, where the verdict is not the best.
    """
    for key, name, suffix in (("output", config.output, ".png"), ("json", config.json, ".json")):
        if name is not None and Path(name).suffix.lower() != suffix:
            raise ConfigError(f"{key}={name} is not a {suffix}", key=key, hint=f"such as {key}=comparison{suffix}")
    paths = {"venv": Path(config.venv).expanduser(), "docker": Path(config.docker).expanduser()}
    venv, docker = (read_stage(path, stage) for stage, path in paths.items())
    refuse_other_commit(venv, docker, allowed=config.any_commit)
    agreement = compare_answers(read_predictions(venv, paths["venv"]), read_predictions(docker, paths["docker"]))
    found = rows(venv, docker)
    wrong = complaints(venv, docker, agreement, tolerance=config.tolerance)
    say(f"{as_table(found)}\n")
    for line in warnings(venv, docker):
        say(f"warning: {line}")
    say(verdict(wrong, agreement))
    commits = " and ".join(dict.fromkeys(report.commit[:12] or "unknown" for report in (venv, docker)))
    title = f"Commit {commits}: virtual environment and containers"
    if config.json is not None:
        write_text(Path(config.json).expanduser(), as_json(found, agreement, venv, docker, wrong))
        say(f"written: {config.json}")
    say(f"written: {draw_stages(found, Path(config.output).expanduser(), title=title, note=verdict(wrong, agreement))}")
    if wrong:
        sys.exit(1)


def read_stage(path: Path, stage: str) -> StageReport:
    """A report, which has to be that stage's.

    Raises:
        RunError: It can't be read, or is another stage's.
    """
    report = read_report(path)
    if report.stage != stage:
        raise RunError(f"{stage}={path} is a report of stage {report.stage}", hint="the two may have changed places")
    for name, kind in (("measurements", dict), ("commit", str)):
        if not isinstance(getattr(report, name), kind):
            raise RunError(f"{path} is no validation report: {name} is of another kind")
    return report


def refuse_other_commit(venv: StageReport, docker: StageReport, *, allowed: bool) -> None:
    """Figures of different code say nothing about containers.

    Raises:
        RunError: The commits differ, or one is unknown.
    """
    if not allowed and (venv.commit != docker.commit or not venv.commit):
        names = " and ".join(report.commit[:12] or "unknown" for report in (venv, docker))
        raise RunError(f"the reports are of different commits: {names}", hint="run both stages, or: any_commit=true")


def as_table(found: Sequence[Row]) -> str:
    """One measurement a line."""
    cells: list[list[Cell]] = [
        [
            row.figure.words,
            show(row.venv, row.figure.unit),
            show(row.docker, row.figure.unit),
            "–" if row.ratio is None else f"{row.ratio:.2f} ×",
        ]
        for row in found
    ]
    return table(["measurement", "virtual environment", "containers", "ratio"], cells)


def verdict(wrong: Sequence[str], agreement: Agreement) -> str:
    """In a line."""
    if wrong:
        return f"NOT THE SAME: {'; '.join(wrong)}"
    return (
        f"the same: both stages passed, {agreement.pictures} pictures answered alike "
        f"(probabilities within {agreement.greatest_difference:.1g})"
    )


def as_json(
    found: Sequence[Row], agreement: Agreement, venv: StageReport, docker: StageReport, wrong: Sequence[str]
) -> str:
    """Everything that was said, for programs."""
    content: dict[str, Any] = {
        "same": not wrong,
        "complaints": list(wrong),
        "warnings": warnings(venv, docker),
        "commit": {"venv": venv.commit, "docker": docker.commit},
        "measurements": {
            row.figure.name: {"venv": row.venv, "docker": row.docker, "ratio": row.ratio, "unit": row.figure.unit}
            for row in found
        },
        "predictions": {**asdict(agreement), "greatest_difference": number(agreement.greatest_difference)},
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
