from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from mlstack.commands.evaluate import evaluate, on_this_machine, scores_of_each
from mlstack.config import Config
from mlstack.config.commands import EvalConfig
from mlstack.config.trainer import ENGINES, METRICS
from mlstack.engines import Predictions
from mlstack.errors import ConfigError, RunError
from mlstack.runs import RunFolder

pytestmark = pytest.mark.framework

# Where the engine makes no difference, the first one that is there is enough.
with_one_engine = pytest.mark.parametrize("engine", ENGINES[:1], indirect=True)


@pytest.fixture
def run(trained: RunFolder, tmp_path: Path) -> RunFolder:
    """The trained run, moved to another place; the original is out of its sight."""
    return RunFolder(Path(shutil.copytree(trained.path, tmp_path / "moved" / "run")))


@pytest.mark.figures
def test_a_run_that_was_moved_is_measured_as_it_was_after_training(
    run: RunFolder, trained: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(EvalConfig(run=str(run.path)))
    table = json.loads((run.path / "evaluation_test.json").read_text())
    assert table["checkpoint"] == "best"
    assert table["metrics"] == pytest.approx(trained.read_results()["metrics"]["test"], rel=1e-6)
    names = ["confusion_matrix", "class_scores", "calibration", "sample_predictions", "worst_mistakes"]
    assert all((run.figures / f"{name}_test.png").is_file() for name in names)
    shown = capsys.readouterr().out
    assert "test split, 179 pictures, best checkpoint" in shown
    assert "another fingerprint" not in shown
    for metric in ("accuracy", "precision", "recall", "f1"):
        assert metric in shown
    assert f"written: {run.path / 'evaluation_test.json'}" in shown


def test_another_split_checkpoint_and_batch_size_can_be_asked_for(
    run: RunFolder, trained: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(EvalConfig(run=str(run.path), split="val", checkpoint="last", batch_size=50, num_workers=0))
    assert json.loads((run.path / "evaluation_val.json").read_text())["checkpoint"] == "last"
    assert "val split, 160 pictures, last checkpoint" in capsys.readouterr().out


@with_one_engine
def test_data_with_another_number_of_classes_than_the_run_was_trained_on_are_refused(run: RunFolder) -> None:
    config = run.read_config()
    config.data.classes = ["a", "b"]
    run.write_config(config)
    with pytest.raises(ConfigError, match="class"):
        evaluate(EvalConfig(run=str(run.path)))
    assert not (run.path / "evaluation_test.json").exists()


@with_one_engine
def test_other_data_than_those_of_the_training_are_measured_with_a_note(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run.read_config()
    config.data.split_seed = 1
    run.write_config(config)
    evaluate(EvalConfig(run=str(run.path)))
    assert "another fingerprint" in capsys.readouterr().out


@with_one_engine
def test_a_run_without_its_checkpoint_is_one_message(run: RunFolder) -> None:
    shutil.rmtree(run.checkpoints)
    with pytest.raises(RunError, match="has no best checkpoint"):
        evaluate(EvalConfig(run=str(run.path)))


def test_a_run_is_measured_in_full_on_one_device_of_this_machine() -> None:
    stored = Config()
    stored.trainer = dataclasses.replace(
        stored.trainer, accelerator="gpu", devices=4, strategy="ddp", precision="16", limit_test_batches=3
    )
    trainer = on_this_machine(stored, accelerator="cpu").trainer
    assert (trainer.accelerator, trainer.devices, trainer.strategy) == ("cpu", 1, "auto")
    assert (trainer.precision, trainer.limit_test_batches) == ("32", 1.0)
    assert stored.trainer.devices == 4


@with_one_engine
def test_a_run_whose_settings_name_no_task_is_a_classification(run: RunFolder, trained: RunFolder) -> None:
    stored = yaml.safe_load(run.config_path.read_text())
    for name in ("task", "table", "targets", "target_mean", "target_std"):
        del stored["data"][name]
    run.config_path.write_text(yaml.safe_dump(stored))
    evaluate(EvalConfig(run=str(run.path)))
    metrics = json.loads((run.path / "evaluation_test.json").read_text())["metrics"]
    assert metrics == pytest.approx(trained.read_results()["metrics"]["test"], rel=1e-6)


FIGURES = {
    "multilabel": ["label_scores", "sample_predictions", "worst_mistakes"],
    "regression": ["predicted_against_true", "residuals", "sample_predictions", "worst_misses"],
}


@pytest.mark.figures
@with_one_engine  # test_predict.py reads such runs with each
@pytest.mark.parametrize("task", FIGURES)
def test_labels_and_numbers_are_measured_as_after_training(
    task: str, table_run: Callable[[str], RunFolder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = table_run(task)
    run = RunFolder(Path(shutil.copytree(trained.path, tmp_path / "run")))
    capsys.readouterr()
    evaluate(EvalConfig(run=str(run.path)))
    table = json.loads((run.path / "evaluation_test.json").read_text())
    assert tuple(table["metrics"]) == METRICS[task]
    assert table["metrics"] == pytest.approx(trained.read_results()["metrics"]["test"], rel=1e-6)
    assert all((run.figures / f"{name}_test.png").is_file() for name in FIGURES[task])
    shown = capsys.readouterr().out
    assert "right" in shown
    assert ("MAE" in shown) == (task == "regression")
    assert ("precision" in shown) == (task == "multilabel")


def test_labels_and_numbers_that_can_be_seen_are_learnt(table_run: Callable[[str], RunFolder]) -> None:
    assert table_run("multilabel").read_results()["metrics"]["test"]["f1"] > 0.8
    numbers = table_run("regression").read_results()["metrics"]["test"]
    assert numbers["r2"] > 0.8
    assert numbers["mae"] > 500  # in the targets' own units, of which one goes up to 255,000


def test_each_task_has_a_table_of_its_own() -> None:
    outputs, indices = np.array([[0.9, 0.2], [0.3, 0.6]], np.float32), np.arange(2)
    labels = {
        "classification": np.array([0, 1]),
        "multilabel": np.array([[1, 0], [0, 1]], np.float32),
        "regression": np.array([[1, 0], [0, 1]], np.float32),
    }
    heads = {
        task: scores_of_each(task, Predictions(outputs, truth, indices), ["a", "b"]).splitlines()[0].split()
        for task, truth in labels.items()
    }
    assert heads == {
        "classification": ["class", "precision", "recall", "F1", "pictures"],
        "multilabel": ["label", "precision", "recall", "F1", "pictures"],
        "regression": ["target", "MAE", "RMSE", "R²"],
    }
