"""How long a run goes on, what it reports, and what it leaves behind."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlstack.config import Config
from mlstack.datasets import Dataset, load_dataset
from mlstack.datasets.images import ArrayImages
from mlstack.datasets.loader import BatchLoader
from mlstack.engines import create_engine
from mlstack.engines.factory import weight_files
from mlstack.errors import ConfigError, OutputError, RunError
from mlstack.runs import RUN_FOLDER_VARIABLE, RunFolder

from .conftest import Fit

pytestmark = pytest.mark.framework


class Recording(ArrayImages):
    """Pictures that remember in which order they were read."""

    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        super().__init__(pictures)
        self.order: list[int] = []

    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.order.extend(indices.tolist())
        return super().read(indices)


def recorded(config: Config) -> tuple[Dataset, Recording]:
    dataset = load_dataset(config.data)
    train = dataset.splits["train"]
    images = Recording(train.images.read(np.arange(len(train))))
    return dataclasses.replace(
        dataset, splits={**dataset.splits, "train": dataclasses.replace(train, images=images)}
    ), images


def test_each_epoch_goes_through_all_pictures_in_an_order_of_its_own(fit: Fit, configure: Any) -> None:
    dataset, images = recorded(configure())
    fit(dataset, trainer__max_epochs=3)
    epochs = [images.order[start : start + 96] for start in (0, 96, 192)]
    assert all(sorted(order) == list(range(96)) for order in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_max_steps_stops_in_the_middle_of_an_epoch_and_validates_and_saves(fit: Fit) -> None:
    fitted = fit(trainer__max_epochs=5, trainer__max_steps=8)
    assert (fitted.result.steps, fitted.result.epochs) == (8, 2)
    assert not fitted.result.stopped_early
    assert [int(row["step"]) for row in fitted.rows() if "val_loss" in row] == [6, 8]
    assert fitted.state("last")["position"]["step"] == 8


def test_max_steps_stops_in_the_middle_of_an_execution(fit: Fit) -> None:
    fitted = fit(trainer__max_epochs=5, trainer__max_steps=3, trainer__steps_per_execution=4)
    assert fitted.result.steps == 3


@pytest.mark.parametrize(("limit", "steps"), [(2, 2), (0.5, 3), (1.0, 6), (100, 6)])
def test_training_batches_are_limited(limit: float, steps: int, fit: Fit) -> None:
    assert fit(trainer__limit_train_batches=limit, trainer__max_epochs=1).result.steps == steps


def test_validation_batches_are_limited(fit: Fit) -> None:
    limited = fit(trainer__limit_val_batches=1, trainer__max_epochs=1, data__batch_size=10)
    few = fit(data__args={"val": 10}, trainer__max_epochs=1, data__batch_size=10)
    assert limited.column("val_accuracy") == few.column("val_accuracy")


def test_without_validation_the_last_weights_count_as_the_best(fit: Fit) -> None:
    fitted = fit(trainer__limit_val_batches=0)
    assert fitted.column("val_loss") == []
    assert fitted.result.best_epoch is None
    np.testing.assert_array_equal(fitted.weights("best")["head.bias"], fitted.weights("last")["head.bias"])
    assert sorted(path.name for path in fitted.run.checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_validation_comes_every_so_many_epochs(fit: Fit) -> None:
    fitted = fit(trainer__max_epochs=4, trainer__check_val_every_n_epoch=2)
    assert [row["epoch"] for row in fitted.rows() if "val_loss" in row] == ["1", "3"]
    assert fitted.result.best_epoch in (1, 3)


def test_early_stopping_stops_and_is_reported(fit: Fit) -> None:
    fitted = fit(trainer__max_epochs=9, trainer__early_stopping_patience=2, model__learning_rate=1e-12)
    assert (fitted.result.epochs, fitted.result.stopped_early) == (3, True)


def test_a_run_that_improves_is_not_stopped_early(fit: Fit) -> None:
    fitted = fit(trainer__max_epochs=3, trainer__early_stopping_patience=1, trainer__monitor="val_loss")
    assert (fitted.result.epochs, fitted.result.stopped_early) == (3, False)


def test_metrics_csv_has_a_row_for_each_logged_point_and_each_validation(fit: Fit) -> None:
    fitted = fit(trainer__log_every_n_steps=4)
    header = fitted.run.metrics_path.read_text().splitlines()[0]
    assert header.split(",")[:6] == [
        "epoch",
        "step",
        "learning_rate",
        "train_loss",
        "train_accuracy",
        "images_per_second",
    ]
    names = ("loss", "accuracy", "top5_accuracy", "precision", "recall", "f1", "roc_auc", "calibration_error")
    assert header.split(",")[6:] == ["cpu_seconds", *(f"val_{name}" for name in names)]
    kinds = [(row["epoch"], row["step"], "val_loss" if "val_loss" in row else "train_loss") for row in fitted.rows()]
    assert (
        kinds
        == [
            ("0", "4", "train_loss"),
            ("0", "6", "train_loss"),
            ("0", "6", "val_loss"),
            ("1", "8", "train_loss"),
            ("1", "12", "train_loss"),
            ("1", "12", "train_loss"),
            ("1", "12", "val_loss"),
        ][: len(kinds)]
    )


def test_the_training_loss_in_metrics_csv_is_the_mean_since_the_row_before(fit: Fit) -> None:
    often = fit(trainer__log_every_n_steps=1, trainer__max_epochs=1)
    seldom = fit(trainer__log_every_n_steps=6, trainer__max_epochs=1)
    assert seldom.column("train_loss")[0] == pytest.approx(np.mean(often.column("train_loss")[:6]), rel=1e-4)
    assert seldom.column("train_accuracy")[0] == pytest.approx(np.mean(often.column("train_accuracy")[:6]), rel=1e-4)


def test_the_result_says_what_training_came_to(fit: Fit) -> None:
    fitted = fit()
    result = fitted.result
    assert (result.is_main, result.epochs, result.steps, result.device) == (True, 2, 12, "cpu")
    assert result.parameters == 8 * 9 + 8 + 10 * 8 * 16 + 10
    assert result.images_per_second > 0
    assert 0 < result.train_seconds < 60
    assert 100 < result.peak_memory_mb < 100_000
    best = max(range(2), key=lambda epoch: fitted.column("val_accuracy")[epoch])
    assert result.best_score == pytest.approx(fitted.column("val_accuracy")[best])


def test_a_rehearsal_of_one_batch_leaves_no_checkpoint(fit: Fit) -> None:
    fitted = fit(trainer__fast_dev_run=True)
    assert fitted.result.steps == 1
    assert not fitted.run.checkpoints.exists()
    source = BatchLoader(fitted.dataset.splits["test"], batch_size=16, image_size=8)
    answers = fitted.engine.predict(fitted.config, source, run=fitted.run)  # with the weights in memory
    assert len(answers.labels) == 30


def test_the_folder_is_announced_to_other_processes_only_while_the_run_goes_on(fit: Fit, configure: Any) -> None:
    fit(trainer__max_epochs=1)
    assert RUN_FOLDER_VARIABLE not in os.environ


def test_ctrl_c_is_passed_on_and_works_again_afterwards(fit: Fit) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(data__target="few_digits:interrupting")
    assert signal.getsignal(signal.SIGINT) is before
    assert RUN_FOLDER_VARIABLE not in os.environ


def test_a_checkpoint_folder_that_cannot_be_written_is_one_message(engine: str, configure: Any, tmp_path: Path) -> None:
    from mlstack.commands.train import complete

    config = configure()
    dataset = load_dataset(config.data)
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.checkpoints.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match=r"epoch_0\.ckpt can't be written"):
        create_engine(engine).fit(complete(config, dataset), dataset, run)
    assert RUN_FOLDER_VARIABLE not in os.environ


def test_predictions_come_in_the_order_of_the_source_with_a_distribution_each(fit: Fit, engine: str) -> None:
    fitted = fit()
    test = fitted.dataset.splits["test"]
    source = BatchLoader(test, batch_size=7, image_size=8)
    answers = fitted.engine.predict(fitted.config, source, run=fitted.run)
    assert answers.labels.tolist() == test.labels.tolist()
    assert answers.indices.tolist() == list(range(30))
    np.testing.assert_allclose(answers.outputs.sum(axis=1), 1, rtol=1e-5)
    fresh = create_engine(engine).predict(fitted.config, source, run=fitted.run)
    np.testing.assert_array_equal(fresh.outputs, answers.outputs)


def test_predictions_use_the_checkpoint_that_was_asked_for(fit: Fit, engine: str) -> None:
    fitted = fit(trainer__monitor="val_loss", model__learning_rate=1e-12, model__optimizer="sgd")
    weights, last = fitted.weights("last"), fitted.run.checkpoints / "last.ckpt"
    weights["head.bias"] = weights["head.bias"] + np.arange(10, dtype=np.float32) * 100
    last.unlink()  # a second name for the same file stays as it was
    weight_files(engine).write_weights(last, weights)
    source = BatchLoader(fitted.dataset.splits["test"], batch_size=30, image_size=8)
    answers = {
        name: create_engine(engine).predict(fitted.config, source, run=fitted.run, checkpoint=name).predicted
        for name in ("best", "last")
    }
    assert set(answers["last"].tolist()) == {9}
    assert set(answers["best"].tolist()) != {9}


def test_a_run_in_bfloat16_is_answered_in_bfloat16(fit: Fit) -> None:
    fitted = fit(trainer__precision="bf16")
    source = BatchLoader(fitted.dataset.splits["test"], batch_size=30, image_size=8)
    full = dataclasses.replace(fitted.config, trainer=dataclasses.replace(fitted.config.trainer, precision="32"))
    low = fitted.engine.predict(fitted.config, source, run=fitted.run).outputs
    high = fitted.engine.predict(full, source, run=fitted.run).outputs
    assert low.dtype == high.dtype == np.float32
    assert not np.array_equal(low, high)
    np.testing.assert_allclose(low, high, atol=0.05)


def test_a_run_in_float64_is_answered_in_float64_by_a_fresh_engine_too(fit: Fit, engine: str) -> None:
    fitted = fit(trainer__precision="64")
    source = BatchLoader(fitted.dataset.splits["test"], batch_size=30, image_size=8)
    same = fitted.engine.predict(fitted.config, source, run=fitted.run).outputs
    fresh = create_engine(engine).predict(fitted.config, source, run=fitted.run).outputs
    np.testing.assert_array_equal(same, fresh)


@pytest.mark.parametrize("kept", [0, 1, 1000])
def test_a_damaged_checkpoint_is_one_message(kept: int, fit: Fit) -> None:
    fitted = fit(trainer__max_epochs=1)
    path = fitted.run.checkpoint("best")
    content = path.read_bytes()
    path.unlink()  # a second name for the same file stays whole
    path.write_bytes(content[:kept])
    source = BatchLoader(fitted.dataset.splits["test"], batch_size=30, image_size=8)
    with pytest.raises(RunError, match=r"best\.ckpt can't be loaded") as caught:
        fitted.engine.predict(fitted.config, source, run=fitted.run)
    assert "checkpoint=last" in caught.value.hint
    assert len(str(caught.value).splitlines()) == 2


def test_a_checkpoint_of_another_network_is_one_message(fit: Fit, engine: str) -> None:
    fitted = fit(trainer__max_epochs=1)
    model = dataclasses.replace(fitted.config.model, args={"width": 4})
    source = BatchLoader(fitted.dataset.splits["test"], batch_size=30, image_size=8)
    with pytest.raises(RunError, match="can't be loaded"):
        create_engine(engine).predict(dataclasses.replace(fitted.config, model=model), source, run=fitted.run)


def test_a_run_whose_every_weight_is_frozen_is_refused(fit: Fit, engine: str) -> None:
    with pytest.raises(ConfigError, match="nothing to learn"):
        fit(model__target=f"tiny_networks_{engine}:pooled", model__freeze_backbone=True)


def test_a_compiled_network_is_asked_for_by_a_setting(fit: Fit, training: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = training.compilations(monkeypatch)
    fit(trainer__compile=True, trainer__max_steps=1)
    assert len(compiled) == 1
