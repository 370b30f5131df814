from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mlstack.commands.compare_performance import compare_performance
from mlstack.config.comparison import ComparePerformanceConfig
from mlstack.errors import ConfigError, MLStackError, OutputError, RunError
from mlstack.validation.report import Criterion, StageReport, write_report

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_performance.py"
KEPT = Criterion("checkpoint", "written", "", "written", "is", "ok")
MISSED = Criterion("start", 9.0, "s", 5.0, "at_most", "fail")
ANSWERS = {
    "0000.png": {"class": "1", "probabilities": {"1": 0.75, "2": 0.25}},
    "0001.png": {"class": "2", "probabilities": {"1": 0.125, "2": 0.875}},
}
Write = Callable[..., StageReport]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write("venv", commit=…)`: a report of a stage with its predictions, as validate.py leaves them."""

    def write(stage: str, *, answers: Any = ANSWERS, **changes: Any) -> StageReport:
        speed = 20.0 if stage == "venv" else 30.0
        report = StageReport(
            stage=stage,  # type: ignore[arg-type]
            profile="quick", commit=COMMIT, dirty=False, created="2026-11-22T12:00:00+00:00", dry_run=False,
            machine={"cores": 2}, versions={"python": "3.11.7"}, criteria=(KEPT,),
            measurements={"images_per_second": speed, "epoch_seconds": 1458 / speed, "training_words": ["data=digits"]},
            predictions=f"predictions.{stage}.json",
        )  # fmt: skip
        report = replace(report, **changes)
        write_report(report, tmp_path)
        (tmp_path / f"predictions.{stage}.json").write_text(json.dumps(answers))
        return report

    return write


@pytest.fixture
def settings(tmp_path: Path) -> ComparePerformanceConfig:
    return ComparePerformanceConfig(
        venv=str(tmp_path / "venv.json"), docker=str(tmp_path / "docker.json"), output=str(tmp_path / "comparison.png"),
        json=str(tmp_path / "comparison.json"),
    )  # fmt: skip


def failing(settings: ComparePerformanceConfig) -> int:
    with pytest.raises(SystemExit) as end:
        compare_performance(settings)
    return int(str(end.value.code))


def changed(name: str, **probabilities: float) -> dict[str, Any]:
    """The answers with other probabilities for one picture."""
    best = max(probabilities, key=lambda one: probabilities[one])
    given = {key.removeprefix("p"): value for key, value in probabilities.items()}
    return {**ANSWERS, name: {"class": best.removeprefix("p"), "probabilities": given}}


def test_two_stages_that_agree_are_the_same(
    write: Write, settings: ComparePerformanceConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("venv")
    write("docker", measurements={"images_per_second": 30.0, "epoch_seconds": 48.6, "start_seconds": 1.5})
    compare_performance(settings)
    text = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "training speed 20 images/s 30 images/s 1.50 ×" in lines
    assert "start of the service – 1.5 s –" in lines
    assert "the same: both stages passed, 2 pictures answered alike" in text
    assert "warning" not in text
    with Image.open(settings.output) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000
    stored = json.loads((tmp_path / "comparison.json").read_text())
    assert stored["same"] is True
    assert stored["measurements"]["images_per_second"] == {
        "venv": 20.0,
        "docker": 30.0,
        "ratio": 1.5,
        "unit": "images/s",
    }
    assert stored["predictions"]["pictures"] == 2


@pytest.mark.parametrize(
    ("answers", "complaint"),
    [
        (changed("0001.png", p1=0.875, p2=0.125), "another class: 0001.png"),
        (changed("0001.png", p1=0.126, p2=0.874), "probabilities differ by up to 0.001, tolerance=0.0001"),
        (changed("0001.png", p2=0.875, p3=0.125), "probabilities differ by up to inf"),
        (changed("0001.png", p2=0.875, p1=float("nan")), "probabilities differ by up to inf"),
        ({"0000.png": ANSWERS["0000.png"]}, "answered in one stage only: 0001.png"),
        ({}, "no picture was asked in both stages"),
    ],
)  # fmt: skip
def test_any_other_answer_is_a_difference(
    write: Write, settings: ComparePerformanceConfig, capsys: pytest.CaptureFixture[str], answers: Any, complaint: str
) -> None:
    write("venv")
    write("docker", answers=answers)
    assert failing(settings) == 1
    assert f"NOT THE SAME: {complaint}" in capsys.readouterr().out
    stored = json.loads(Path(str(settings.json)).read_text())
    assert stored["same"] is False


def test_how_far_probabilities_may_differ_is_a_setting(
    write: Write, settings: ComparePerformanceConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    write("venv")
    write("docker", answers=changed("0001.png", p1=0.126, p2=0.874))
    compare_performance(replace(settings, tolerance=0.01))
    assert "the same" in capsys.readouterr().out


def test_a_stage_that_failed_fails_the_comparison(
    write: Write, settings: ComparePerformanceConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    write("venv")
    write("docker", criteria=(KEPT, MISSED))
    assert failing(settings) == 1
    assert "NOT THE SAME: stage docker failed: start" in capsys.readouterr().out


def test_reports_of_different_commits_are_refused_unless_asked_for(
    write: Write, settings: ComparePerformanceConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    write("venv")
    write("docker", commit="f" * 40)
    with pytest.raises(RunError, match="different commits: 0123456789ab and ffffffffffff"):
        compare_performance(settings)
    compare_performance(replace(settings, any_commit=True))
    assert "warning: commits differ: 0123456789ab and ffffffffffff" in capsys.readouterr().out


def test_commits_that_are_unknown_are_no_equal_commits(write: Write, settings: ComparePerformanceConfig) -> None:
    write("venv", commit="")
    write("docker", commit="")
    with pytest.raises(RunError, match="unknown and unknown"):
        compare_performance(settings)


def test_what_a_reader_has_to_know_is_said(
    write: Write, settings: ComparePerformanceConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    write("venv", dry_run=True, dirty=True)
    write("docker", profile="full")
    compare_performance(settings)
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert warnings == [
        "warning: uncommitted changes in stage venv: the commit does not say all",
        "warning: stage venv was a dry run: it says nothing about a GPU",
        "warning: profiles differ: quick and full",
    ]


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("docker.json", None, "can't be read: No such file or directory"),
        ("docker.json", "{", "is no validation report"),
        ("docker.json", "[]", "is no validation report"),
        ("docker.json", '{"schema_version": 9}', "schema version 9"),
        ("docker.json", '{"schema_version": 1, "criteria": []}', "is no validation report"),
        ("predictions.docker.json", None, "can't be read"),
        ("predictions.docker.json", "{", "is damaged"),
        ("predictions.docker.json", '{"0000.png": 1}', "holds no predictions"),
    ],
)
def test_a_report_that_is_missing_or_broken_ends_in_one_line(
    write: Write, settings: ComparePerformanceConfig, tmp_path: Path, file: str, text: str | None, words: str
) -> None:
    write("venv")
    write("docker")
    path = tmp_path / file
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(RunError, match=words) as error:
        compare_performance(settings)
    assert file in error.value.message
    assert not Path(settings.output).exists()


@pytest.mark.parametrize(("field", "value"), [("measurements", [1]), ("commit", None)])
def test_a_field_of_another_kind_ends_in_one_line(
    write: Write, settings: ComparePerformanceConfig, field: str, value: Any
) -> None:
    write("venv")
    write("docker")
    path = Path(settings.docker)
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(RunError, match=f"{field} is of another kind"):
        compare_performance(settings)


def test_a_stage_that_left_no_predictions_is_named(write: Write, settings: ComparePerformanceConfig) -> None:
    write("venv")
    write("docker", predictions=None)
    with pytest.raises(RunError, match=r"docker\.json names no predictions"):
        compare_performance(settings)


def test_reports_that_changed_places_are_noticed(write: Write, settings: ComparePerformanceConfig) -> None:
    write("venv")
    write("docker")
    with pytest.raises(RunError, match="is a report of stage docker"):
        compare_performance(replace(settings, venv=settings.docker, docker=settings.venv))


def test_output_that_cannot_be_written_ends_in_one_line(
    write: Write, settings: ComparePerformanceConfig, tmp_path: Path
) -> None:
    write("venv")
    write("docker")
    with pytest.raises(ConfigError, match=r"is not a \.png"):
        compare_performance(replace(settings, output="comparison.pdf"))
    with pytest.raises(ConfigError, match=r"is not a \.json"):
        compare_performance(replace(settings, json="comparison.txt"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        compare_performance(replace(settings, output=str(tmp_path / "file" / "comparison.png")))
    assert issubclass(OutputError, MLStackError)


def test_measurements_that_no_ratio_can_be_made_of_leave_an_empty_figure(
    write: Write, settings: ComparePerformanceConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    write("venv", measurements={"images_per_second": 0.0, "epoch_seconds": None, "accuracy": "high"})
    write("docker", measurements={"images_per_second": 3.0, "latency_ms": float("inf")})
    compare_performance(settings)
    assert "training speed" in capsys.readouterr().out
    assert Path(settings.output).exists()


def test_the_script_ends_with_the_verdict_as_its_status(write: Write, tmp_path: Path) -> None:
    write("venv")
    write("docker", criteria=(MISSED,))
    words = [f"venv={tmp_path}/venv.json", f"docker={tmp_path}/docker.json", f"output={tmp_path}/a.png"]
    answer = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (1, "")
    assert "NOT THE SAME: stage docker failed" in answer.stdout
    answer = subprocess.run([sys.executable, str(SCRIPT), words[0], "docker=no.json"], capture_output=True, text=True)
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: no.json can't be read")
