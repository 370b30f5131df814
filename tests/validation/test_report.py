from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from mlstack.errors import OutputError, RunError
from mlstack.validation.report import (
    Criterion,
    StageReport,
    as_markdown,
    judge,
    not_checked,
    passed,
    read_report,
    show,
    write_report,
)

SLOW = judge("one epoch", 150.0, "at_most", 120.0, unit="s", mend="a smaller data set")
QUICK = judge("one epoch", 42.0, "at_most", 120.0, unit="s", mend="a smaller data set")
NO_GPU = not_checked("GPU memory", "at_most", 0.8, reason="no GPU here")


def report(*criteria: Criterion) -> StageReport:
    return StageReport(
        stage="venv",
        profile="quick",
        commit="0123456789abcdef",
        dirty=True,
        created="2026-11-22T12:00:00+00:00",
        dry_run=True,
        machine={"cpu": "a | b", "cores": 2},
        versions={"python": "3.11.7"},
        criteria=criteria,
        measurements={"images_per_second": 1234.5, "models": {"resnet18": {"seconds": None}}, "words": ["a", "b"]},
        predictions="predictions.venv.json",
    )


@pytest.mark.parametrize(
    ("value", "kind", "limit", "status"),
    [
        (0.8, "at_most", 0.8, "ok"),
        (0.81, "at_most", 0.8, "fail"),
        (0.9, "at_least", 0.9, "ok"),
        (0.89, "at_least", 0.9, "fail"),
        ("written", "is", "written", "ok"),
        ("missing", "is", "written", "fail"),
        (math.nan, "at_least", 0.9, "fail"),
        (None, "at_most", 0.8, "fail"),
    ],
)
def test_a_value_is_judged_by_its_limit(value: float | str | None, kind: str, limit: float | str, status: str) -> None:
    assert judge("x", value, kind, limit).status == status  # type: ignore[arg-type]


def test_what_could_not_be_measured_says_so_and_what_to_do() -> None:
    assert judge("x", None, "at_most", 1.0, mend="try again").note == "not measured; try again"
    assert QUICK.note == ""


def test_texts_have_no_order() -> None:
    with pytest.raises(TypeError, match="only numbers have an order"):
        judge("x", "2 of 3", "at_most", 1.0)


def test_a_report_passes_when_something_was_checked_and_nothing_failed() -> None:
    assert passed(report(QUICK, NO_GPU))
    assert not passed(report(QUICK, SLOW))
    assert not passed(report(NO_GPU))
    assert not passed(report())


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    written = report(SLOW, NO_GPU)
    path = write_report(written, tmp_path / "new")
    assert path == tmp_path / "new" / "venv.json"
    assert read_report(path) == written
    assert sorted(file.name for file in path.parent.iterdir()) == ["venv.json", "venv.md"]


def test_the_readable_report_shows_verdict_limits_and_what_to_do() -> None:
    text = as_markdown(report(SLOW, NO_GPU))
    assert text.startswith("# Validation, stage venv: failed (dry run on the CPU: nothing is said about a GPU)")
    assert "commit 0123456789ab with uncommitted changes" in text
    assert "| one epoch | 150 s | ≤ 120 s | FAIL |" in text
    assert "| GPU memory | – | ≤ 0.8 | not checked |" in text
    assert "- one epoch (FAIL): a smaller data set" in text
    assert "| cpu | a \\| b |" in text
    assert "| models.resnet18.seconds | – |" in text
    assert "| words | a, b |" in text


def test_a_report_of_another_schema_version_is_refused(tmp_path: Path) -> None:
    path = write_report(report(QUICK), tmp_path)
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(RunError, match=r"venv\.json is a report of schema version 2, this code reads 1"):
        read_report(path)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"schema_version": 1}', '{"schema_version": 1, "criteria": [{}]}']
)
def test_a_damaged_report_is_one_line_with_its_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "venv.json"
    path.write_text(content)
    with pytest.raises(RunError, match=r"venv\.json"):
        read_report(path)


def test_a_missing_report_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No such file") as caught:
        read_report(tmp_path / "venv.json")
    assert "stage=venv" in caught.value.hint


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="can't be written"):
        write_report(report(QUICK), tmp_path / "file")


def test_the_file_holds_every_field_of_a_report(tmp_path: Path) -> None:
    content = json.loads(write_report(report(QUICK), tmp_path).read_text())
    assert set(content) == {"schema_version", *(field.name for field in dataclasses.fields(StageReport))}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (True, "yes"), (12345, "12,345"), (0.12345, "0.1235"), (1234.5, "1,234"), ([], "none")],
)
def test_values_are_shown_for_readers(value: object, text: str) -> None:
    assert show(value) == text
