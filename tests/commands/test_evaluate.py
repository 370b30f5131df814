from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from mlstack.commands.evaluate import evaluate, on_this_machine
from mlstack.config import Config
from mlstack.config.commands import EvalConfig
from mlstack.errors import ConfigError, RunError
from mlstack.runs import RunFolder

pytestmark = pytest.mark.framework


@pytest.fixture
def run(trained: RunFolder, tmp_path: Path) -> RunFolder:
    """The trained run, moved to another place; the original is out of its sight."""
    return RunFolder(Path(shutil.copytree(trained.path, tmp_path / "moved" / "run")))


def test_a_run_that_was_moved_is_measured_as_it_was_after_training(
    run: RunFolder, trained: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(EvalConfig(run=str(run.path)))
    table = json.loads((run.path / "evaluation_test.json").read_text())
    assert table["checkpoint"] == "best"
    assert table["metrics"] == pytest.approx(trained.read_results()["metrics"]["test"], rel=1e-6)
    names = ["confusion_matrix", "class_scores", "sample_predictions", "worst_mistakes"]
    assert all((run.figures / f"{name}_test.png").is_file() for name in names)
    shown = capsys.readouterr().out
    assert "test split, 179 pictures, best checkpoint" in shown
    for metric in ("accuracy", "precision", "recall", "f1"):
        assert metric in shown
    assert f"written: {run.path / 'evaluation_test.json'}" in shown


def test_another_split_checkpoint_and_batch_size_can_be_asked_for(
    run: RunFolder, trained: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(EvalConfig(run=str(run.path), split="val", checkpoint="last", batch_size=50, num_workers=0))
    assert json.loads((run.path / "evaluation_val.json").read_text())["checkpoint"] == "last"
    assert "val split, 160 pictures, last checkpoint" in capsys.readouterr().out


def test_data_with_another_number_of_classes_than_the_run_was_trained_on_are_refused(run: RunFolder) -> None:
    config = run.read_config()
    config.data.classes = ["a", "b"]
    run.write_config(config)
    with pytest.raises(ConfigError, match="class"):
        evaluate(EvalConfig(run=str(run.path)))
    assert not (run.path / "evaluation_test.json").exists()


def test_other_data_than_those_of_the_training_are_measured_with_a_note(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate(EvalConfig(run=str(run.path)))
    assert "another fingerprint" not in capsys.readouterr().out
    config = run.read_config()
    config.data.split_seed = 1
    run.write_config(config)
    evaluate(EvalConfig(run=str(run.path)))
    assert "another fingerprint" in capsys.readouterr().out


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
