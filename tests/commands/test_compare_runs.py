from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mlstack.commands.compare_runs import compare_runs, compare_sweep, find_runs
from mlstack.config import Config
from mlstack.config.commands import CompareRunsConfig
from mlstack.config.trainer import ENGINES
from mlstack.errors import ConfigError, OutputError, RunError
from mlstack.runs import RunFolder

Finish = Callable[..., RunFolder]


@pytest.fixture(scope="session", params=ENGINES[:1])
def engine(request: pytest.FixtureRequest) -> str:
    """The runs are not trained: which engine they name makes no difference."""
    return str(request.param)


@pytest.fixture
def finish(tmp_path: Path, configure: Callable[..., Config]) -> Finish:
    """`finish("12-00_a", accuracy=0.9, seed=1)`: a run folder as a finished run leaves it, without its checkpoints."""

    def finish(name: str, *, accuracy: float = 0.5, status: str = "finished", **overrides: Any) -> RunFolder:
        config = configure(**overrides)
        config.trainer = replace(config.trainer, monitor="val_accuracy", mode="max")
        run = RunFolder(tmp_path / "outputs" / "digits_tiny" / name)
        run.path.mkdir(parents=True)
        run.write_config(config)
        scores = {"loss": 1 - accuracy, "accuracy": accuracy, "roc_auc": None}
        run.update_results(
            status=status, finished_at=name, metrics={"val": scores, "test": scores}, cpu_seconds=20.0,
            images_per_second=1234.5,
        )  # fmt: skip
        run.metrics_path.write_text(
            f"epoch,step,cpu_seconds,val_accuracy\n0,10,10.0,\n0,10,,{accuracy / 2}\n1,20,20.0,\n1,20,,{accuracy}\n"
        )
        return run

    return finish


@pytest.fixture
def settings(tmp_path: Path) -> CompareRunsConfig:
    return CompareRunsConfig(output=str(tmp_path / "comparison.png"), output_dir=str(tmp_path / "outputs"))


def test_the_tables_show_what_differs_what_was_reached_and_the_deviation_over_seeds(
    finish: Finish, settings: CompareRunsConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, accuracy in enumerate((0.8, 0.9, 0.85)):
        finish(f"12-0{seed}", accuracy=accuracy, seed=seed, model__optimizer="muon")
    finish("12-09", accuracy=0.7, seed=0)
    compare_runs(settings)
    text = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "12-01 muon 1 0.1000 0.9000 20.00 1234" in lines
    assert "muon 3 0.1500 ± 0.0500 0.8500 ± 0.0500 20.00 ± 0.00 1234 ± 0" in lines
    assert "adamw 1 0.3000 0.7000 20.00 1234" in lines
    assert "mean ± sample standard deviation over the seeds\n" in text
    with Image.open(settings.output) as picture:
        assert picture.format == "PNG"


def test_the_tables_can_be_had_as_files(finish: Finish, settings: CompareRunsConfig, tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.8, 0.9)):
        finish(f"12-0{seed}", accuracy=accuracy, seed=seed)
    compare_runs(replace(settings, csv=str(tmp_path / "runs.csv"), json=str(tmp_path / "runs.json")))
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert [(row["seed"], row["test_accuracy"], row["cpu_seconds"]) for row in rows] == [
        ("0", "0.8", "20.0"),
        ("1", "0.9", "20.0"),
    ]
    stored = json.loads((tmp_path / "runs.json").read_text())
    assert stored["split"] == "test"
    assert [run["settings"] for run in stored["runs"]] == [{"seed": 0}, {"seed": 1}]
    [group] = stored["groups"]
    assert group["seeds"] == [0, 1]
    assert group["mean"]["accuracy"] == pytest.approx(0.85)
    assert group["deviation"]["accuracy"] == pytest.approx(0.0707107)
    assert group["mean"]["roc_auc"] is None


def test_of_runs_that_are_alike_the_newest_counts(
    finish: Finish, settings: CompareRunsConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    finish("12-00", accuracy=0.1, seed=0)
    finish("12-01", accuracy=0.9, seed=0)
    finish("12-02", accuracy=0.7, seed=1)
    compare_runs(settings)
    text = capsys.readouterr().out
    assert "0.8000 ± 0.1414" in text
    assert "over the seeds; 1 older of equal runs not counted" in text


def test_one_run_has_a_table_and_no_deviation(
    finish: Finish, settings: CompareRunsConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    finish("12-00", accuracy=0.9)
    compare_runs(settings)
    text = capsys.readouterr().out
    assert "0.9000" in text
    assert "±" not in text


def test_runs_are_named_by_folder_by_pattern_or_by_what_holds_them(finish: Finish, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    a, b, c = finish("b_1"), finish("a_2"), finish("a_1")
    finish("running", status="running")
    (outputs / "latest").symlink_to("digits_tiny/a_1")

    def found(*words: str) -> list[RunFolder]:
        return find_runs(words, output_dir=str(outputs))

    assert found() == [c, b, a]
    assert found(str(outputs / "digits_tiny")) == [c, b, a]
    assert found(f"{outputs}/*/a_*") == [c, b]
    assert found(f"{outputs}/*") == [c, b, a]
    assert found(str(a.path), f"{outputs}/*/b_*") == [a]
    assert found("latest") == [a]


def test_mistakes_end_in_one_message(finish: Finish, settings: CompareRunsConfig, tmp_path: Path) -> None:
    running = finish("running", status="running")
    with pytest.raises(RunError, match="outputs: no finished run there"):
        compare_runs(settings)
    with pytest.raises(RunError, match="has not finished") as caught:
        compare_runs(replace(settings, runs=[str(running.path)]))
    assert f"resume={running.path}" in caught.value.hint
    with pytest.raises(RunError, match=r"runs=nowhere/\*: no finished run there"):
        compare_runs(replace(settings, runs=["nowhere/*"]))
    for key, suffix in (("output", ".png"), ("csv", ".csv"), ("json", ".json")):
        with pytest.raises(ConfigError, match=rf"{key}=x\.txt is not a {suffix}"):
            compare_runs(replace(settings, **{key: "x.txt"}))
    finish("finished")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        compare_runs(replace(settings, output=str(tmp_path / "file" / "comparison.png")))


def test_a_run_whose_settings_cannot_be_read_is_one_message(finish: Finish, settings: CompareRunsConfig) -> None:
    finish("old").config_path.write_text("no_such_key: 1\n")
    with pytest.raises(RunError, match="can't be read as a run's settings"):
        compare_runs(settings)


def test_a_sweep_compares_those_of_its_runs_that_have_finished(
    finish: Finish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [finish("a", seed=1), finish("b", seed=2), finish("c", status="failed", seed=3)]
    folders = [str(run.path) for run in runs] + [str(tmp_path / "removed")]
    compare_sweep(folders, str(tmp_path / "sweep"))
    assert json.loads((tmp_path / "sweep" / "summary.json").read_text())["groups"][0]["seeds"] == [1, 2]
    assert (tmp_path / "sweep" / "comparison.png").is_file()
    assert f"written: {tmp_path / 'sweep' / 'summary.json'}" in capsys.readouterr().out


def test_a_sweep_with_one_finished_run_has_nothing_to_compare(
    finish: Finish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare_sweep([str(finish("a").path)], str(tmp_path / "sweep"))
    assert not (tmp_path / "sweep").exists()
    assert capsys.readouterr().out == ""


def test_a_comparison_that_fails_is_one_warning_for_the_sweep(
    finish: Finish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep").touch()
    compare_sweep([str(finish(name).path) for name in "ab"], str(tmp_path / "sweep"))
    assert (
        f"warning: the runs can't be compared: {tmp_path / 'sweep' / 'summary.json'} can't be written"
        in capsys.readouterr().out
    )
