"""What a validation stage found, as a file for programs (`<stage>.json`) and one for readers (`<stage>.md`).

A criterion compares one figure with one limit. A report with a failed criterion has failed; one that could not be
checked (a GPU's in a dry run without one) is listed as such and fails nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlstack.errors import RunError
from mlstack.runs import write_text

SCHEMA_VERSION = 1
Kind = Literal["at_most", "at_least", "is"]
SIGNS = {"at_most": "≤", "at_least": "≥", "is": "="}


@dataclass(frozen=True)
class Criterion:
    """One line of the verdict.

    Attributes:
        name: What was looked at, in words (`GPU memory`).
        value: What was found; None where nothing could be measured.
        unit: Of value and limit; empty for shares (0 to 1) and texts.
        limit: What is asked for.
        kind: How the value has to stand to the limit.
        note: Why it failed or was not checked, and what to do; empty where there is nothing to say.
    """

    name: str
    value: float | str | None
    unit: str
    limit: float | str | None
    kind: Kind
    status: Literal["ok", "fail", "not_checked"]
    note: str = ""


@dataclass(frozen=True)
class StageReport:
    """All that one stage found.

    Attributes:
        commit: Of the code, in full; empty outside a git checkout.
        dirty: Whether the code has changes that are not in that commit.
        created: ISO 8601 in UTC.
        dry_run: Whether the GPU's part was left out on purpose.
        machine: Processor, cores, memory, GPU.
        versions: Of Python, packages, driver, engine.
        measurements: Every figure behind the criteria, and those that only a comparison needs.
        predictions: Name of the file beside the report that holds, for each picture, class and probabilities.
    """

    stage: Literal["venv", "docker"]
    profile: Literal["quick", "full"]
    commit: str
    dirty: bool
    created: str
    dry_run: bool
    machine: dict[str, Any]
    versions: dict[str, Any]
    criteria: tuple[Criterion, ...]
    measurements: dict[str, Any]
    predictions: str | None


def judge(
    name: str, value: float | str | None, kind: Kind, limit: float | str, *, unit: str = "", mend: str = ""
) -> Criterion:
    """The criterion for a value that had to be found: None fails, and so does NaN.

    Args:
        name: What was looked at, in words.
        value: What was found.
        kind: How it has to stand to the limit.
        limit: What is asked for.
        unit: Of both.
        mend: What to do where it fails.

    Raises:
        TypeError: A text where a number is compared.
    """
    good = value is not None and _holds(value, kind, limit)
    note = "" if good else mend if value is not None else f"not measured; {mend}" if mend else "not measured"
    return Criterion(name, value, unit, limit, kind, "ok" if good else "fail", note)


def not_checked(name: str, kind: Kind, limit: float | str, *, unit: str = "", reason: str) -> Criterion:
    """The criterion for what can't be looked at here, with the reason."""
    return Criterion(name, None, unit, limit, kind, "not_checked", reason)


def _holds(value: float | str, kind: Kind, limit: float | str) -> bool:
    if kind == "is":
        return value == limit
    if isinstance(value, str) or isinstance(limit, str):
        raise TypeError(f"{value!r} {kind} {limit!r}: only numbers have an order")
    return value <= limit if kind == "at_most" else value >= limit


def passed(report: StageReport) -> bool:
    """Whether something was checked and nothing of it failed."""
    states = {criterion.status for criterion in report.criteria}
    return "ok" in states and "fail" not in states


def write_report(report: StageReport, folder: Path) -> Path:
    """Write `<folder>/<stage>.json` and `<folder>/<stage>.md`, each whole or not at all; returns the first one's path.

    Raises:
        OutputError: The folder can't be written.
    """
    path = folder / f"{report.stage}.json"
    content = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(report)}
    write_text(folder / f"{report.stage}.md", as_markdown(report))
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path


def read_report(path: Path) -> StageReport:
    """The report that `write_report` wrote.

    Raises:
        RunError: It is not there, damaged, or of another schema version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise RunError(
                f"{path} is a report of schema version {version}, this code reads {SCHEMA_VERSION}",
                hint="make it anew: python scripts/validate.py stage=venv (or stage=docker)",
            )
        criteria = tuple(Criterion(**criterion) for criterion in content.pop("criteria"))
        return StageReport(criteria=criteria, **content)
    except OSError as error:
        hint = "make it first: python scripts/validate.py stage=venv (or stage=docker)"
        raise RunError(f"{path} can't be read: {error.strerror or error}", hint=hint) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(f"{path} is no validation report: {error}") from error


def as_markdown(report: StageReport) -> str:
    """The report for readers: verdict, criteria, what to do, measurements, machine and versions."""
    verdict = "passed" if passed(report) else "failed"
    dry = " (dry run on the CPU: nothing is said about a GPU)" if report.dry_run else ""
    changes = " with uncommitted changes" if report.dirty else ""
    parts = [
        f"# Validation, stage {report.stage}: {verdict}{dry}\n",
        f"Profile {report.profile}, {report.created}, commit {report.commit[:12] or 'unknown'}{changes}.\n",
        "## Criteria\n",
        markdown_table(("criterion", "value", "limit", "verdict"), as_rows(report)),
    ]
    if lines := notes(report):
        parts += ["## What to do\n", "\n".join(f"- {line}" for line in lines) + "\n"]
    sections = (("Measurements", report.measurements), ("Machine", report.machine), ("Versions", report.versions))
    for title, content in sections:
        if content:
            rows = [(name, show(value)) for name, value in flat(content)]
            parts += [f"## {title}\n", markdown_table(("what", "value"), rows)]
    if report.predictions:
        parts.append(f"What the model answers for each picture: {report.predictions}\n")
    return "\n".join(parts)


def as_rows(report: StageReport) -> list[tuple[str, ...]]:
    """Name, value, limit and verdict of each criterion, as texts."""
    return [
        (one.name, show(one.value, one.unit), f"{SIGNS[one.kind]} {show(one.limit, one.unit)}", _verdict(one))
        for one in report.criteria
    ]


def notes(report: StageReport) -> list[str]:
    """What to do about each criterion that failed or was not checked."""
    return [f"{one.name} ({_verdict(one)}): {one.note}" for one in report.criteria if one.note]


def _verdict(criterion: Criterion) -> str:
    return {"ok": "ok", "fail": "FAIL", "not_checked": "not checked"}[criterion.status]


def show(value: Any, unit: str = "") -> str:
    """A value for readers: `–` for None, four significant digits, thousands with commas, the unit behind it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(show(one) for one in value) or "none"
    if isinstance(value, float | int):
        text = f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"
        return f"{text} {unit}".rstrip()
    return str(value)


def flat(content: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested mappings as lines, names joined by a dot."""
    lines: list[tuple[str, Any]] = []
    for name, value in content.items():
        lines += flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return lines


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; bars within a cell are escaped."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines) + "\n"
