from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mlstack.config.model import LOSSES
from mlstack.config.trainer import METRICS
from mlstack.errors import OutputError, RunError
from mlstack.reports.learning_curves import (
    LOSS_LABELS,
    METRIC_LABELS,
    _best,
    _draw_pair,
    _draw_rate,
    _draw_training,
    _running_mean,
    _scale,
    _span,
    draw_learning_curves,
)
from mlstack.reports.metrics_file import Points, read_metrics

if TYPE_CHECKING:
    from tests.reports.conftest import Drawn

COLUMNS = ["learning_rate", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "images_per_second"]
HEADER = ["epoch", "step", *COLUMNS]
TRAIN = [0, 10, 0.001, 2.0, 0.3, "", "", 900.0]
VAL = [0, 10, "", "", "", 1.5, 0.5, ""]


def write_log(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


def run_log(path: Path, epochs: int, *, lost_from: int | None = None) -> Path:
    rows: list[list[object]] = []
    for step in range(10, epochs * 100 + 1, 10):
        epoch, loss = (step - 1) // 100, 2 / step**0.5
        loss = float("nan") if lost_from is not None and step >= lost_from else loss
        rows.append([epoch, step, 1e-3 / step, loss, 0.9, "", "", 500])
        if step % 100 == 0:
            rows.append([epoch, step, "", "", "", loss * 1.1, 0.9 - 0.1 * abs(epoch - 1), ""])
    return write_log(path, rows)


def test_each_column_keeps_only_the_rows_that_have_a_value(tmp_path: Path) -> None:
    columns = read_metrics(write_log(tmp_path / "metrics.csv", [TRAIN, VAL, [1, 20, 0.0, "nan", "", "", "", ""]]))
    assert columns["train_loss"].steps.tolist() == [10, 20]
    assert columns["train_loss"].epochs.tolist() == [0, 1]
    assert np.isnan(columns["train_loss"].values[1])
    assert columns["val_accuracy"].values.tolist() == [0.5]
    assert list(columns) == COLUMNS


def test_a_last_line_cut_off_by_a_kill_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_log(tmp_path / "metrics.csv", [TRAIN])
    path.write_text(path.read_text() + "0,20,0.001,1.9")
    assert read_metrics(path)["train_loss"].values.tolist() == [2.0, 1.9]
    assert len(read_metrics(path)["train_accuracy"]) == 1


def test_a_missing_or_foreign_file_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"metrics\.csv can't be read: No such file"):
        read_metrics(tmp_path / "metrics.csv")
    foreign = tmp_path / "foreign.csv"
    foreign.write_text("epoch,step,loss\n0,1,much\n")
    with pytest.raises(RunError, match=r"can't be read: .*much"):
        read_metrics(foreign)


def test_the_curves_of_a_run_are_drawn_with_the_best_epoch(tmp_path: Path, drawn: Drawn) -> None:
    path = draw_learning_curves(run_log(tmp_path / "metrics.csv", 3), tmp_path / "figures" / "learning_curves.png")
    with Image.open(path) as image:
        assert image.size == (1650, 555)
    note = next(word for word in drawn.words if word.startswith("dashed"))
    assert note == "dashed: best val accuracy, 0.9, in epoch 1 (the first is 0) after 200 steps"
    assert {"Loss", "Accuracy", "Learning rate", "optimizer steps", "training", "validation"} <= set(drawn.words)


def test_less_is_better_where_the_loss_is_monitored(tmp_path: Path, drawn: Drawn) -> None:
    log = run_log(tmp_path / "metrics.csv", 3)
    draw_learning_curves(log, tmp_path / "curves.png", monitor="val_loss", mode="min")
    assert any("in epoch 2 " in word for word in drawn.words)


def test_one_epoch_with_one_point_is_drawn(tmp_path: Path, drawn: Drawn) -> None:
    draw_learning_curves(write_log(tmp_path / "metrics.csv", [TRAIN, VAL]), tmp_path / "curves.png")
    assert any("in epoch 0 " in word for word in drawn.words)


def test_a_run_without_validation_marks_no_best_epoch(tmp_path: Path, drawn: Drawn) -> None:
    draw_learning_curves(write_log(tmp_path / "metrics.csv", [TRAIN]), tmp_path / "curves.png")
    assert not any(word.startswith(("dashed", "validation")) for word in drawn.words)


def test_a_loss_that_diverged_is_cut_off_and_named(tmp_path: Path, drawn: Drawn) -> None:
    draw_learning_curves(run_log(tmp_path / "metrics.csv", 3, lost_from=150), tmp_path / "curves.png")
    assert "NaN or infinite\nfrom step 150" in drawn.words


@pytest.mark.parametrize("rows", [[], [[0, 5, 0.0, "nan", "nan", "inf", "nan", 1]]])
def test_a_log_without_a_finite_value_still_gives_a_figure(
    rows: list[list[object]], tmp_path: Path, drawn: Drawn
) -> None:
    draw_learning_curves(write_log(tmp_path / "metrics.csv", rows), tmp_path / "curves.png")
    assert {"no finite loss was logged", "no finite accuracy was logged"} <= set(drawn.words)


def test_a_loss_over_orders_of_magnitude_gets_a_logarithmic_axis(tmp_path: Path, drawn: Drawn) -> None:
    rows: list[list[object]] = [[0, step, 0.1, 100.0 / step**2, 0.5, "", "", 1] for step in range(1, 40)]
    draw_learning_curves(write_log(tmp_path / "metrics.csv", rows), tmp_path / "curves.png")
    assert drawn.figure.axes[0].get_yscale() == "log"


def test_many_noisy_points_get_a_running_mean(tmp_path: Path, drawn: Drawn) -> None:
    draw_learning_curves(run_log(tmp_path / "metrics.csv", 10), tmp_path / "curves.png")
    assert "training (running mean)" in drawn.words


def test_the_running_mean_keeps_a_slope_up_to_its_ends_and_skips_nan() -> None:
    slope = np.arange(20.0)
    assert np.allclose(_running_mean(slope, 3), slope)
    holed = np.array([1.0, np.nan, 3.0])
    assert np.array_equal(_running_mean(holed, 1), [1.0, np.nan, 3.0], equal_nan=True)


def test_curves_that_cannot_be_written_are_an_error_in_words(tmp_path: Path) -> None:
    log = run_log(tmp_path / "metrics.csv", 1)
    with pytest.raises(OutputError, match="can't be written"):
        draw_learning_curves(log, log / "curves.png")


def test_a_log_without_a_learning_rate_says_so(tmp_path: Path, drawn: Drawn) -> None:
    draw_learning_curves(write_log(tmp_path / "metrics.csv", [VAL]), tmp_path / "curves.png")
    assert "no learning rate was logged" in drawn.words


def task_log(path: Path, metric: str, *, train_accuracy: object = "") -> Path:
    """A log with other validation columns, with one that no figure knows, and no header for what is not logged."""
    header = ["epoch", "step", "learning_rate", "train_loss", "train_accuracy", "cpu_seconds", "val_loss", metric]
    rows: list[list[object]] = []
    for epoch in range(3):
        step = 10 * (epoch + 1)
        rows.append([epoch, step, 0.001, 1 / step, train_accuracy, 4.5 * step, "", ""])
        rows.append([epoch, step, "", "", "", "", 5000.0 + epoch, 0.5 + 0.1 * epoch])
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def lines_of(drawn: Drawn, panel: int) -> dict[str, list[float]]:
    lines = {str(line.get_label()): np.asarray(line.get_ydata()).tolist() for line in drawn.figure.axes[panel].lines}
    return {label: values for label, values in lines.items() if not label.startswith("_")}


def headings(drawn: Drawn) -> list[str]:
    return [axes.get_title(loc="left") for axes in drawn.figure.axes]


def test_a_multilabel_run_shows_f1(tmp_path: Path, drawn: Drawn) -> None:
    log = task_log(tmp_path / "metrics.csv", "val_f1")
    draw_learning_curves(log, tmp_path / "curves.png", task="multilabel", monitor="val_f1")
    assert headings(drawn) == ["Loss", "F1", "Learning rate"]
    assert lines_of(drawn, 1) == {"validation": pytest.approx([0.5, 0.6, 0.7])}
    assert "binary cross-entropy" in drawn.words
    assert "dashed: best val f1, 0.7, in epoch 2 (the first is 0) after 30 steps" in drawn.words


def test_training_accuracy_beside_another_metric_has_a_panel_of_its_own(tmp_path: Path, drawn: Drawn) -> None:
    log = task_log(tmp_path / "metrics.csv", "val_f1", train_accuracy=0.8)
    draw_learning_curves(log, tmp_path / "curves.png", task="multilabel", monitor="val_f1")
    assert headings(drawn) == ["Loss", "F1", "Accuracy", "Learning rate"]
    assert lines_of(drawn, 2) == {"training": [0.8, 0.8, 0.8]}


def test_a_monitored_metric_of_another_name_has_a_panel_of_its_own(tmp_path: Path, drawn: Drawn) -> None:
    log = task_log(tmp_path / "metrics.csv", "val_roc_auc", train_accuracy=0.8)
    draw_learning_curves(log, tmp_path / "curves.png", monitor="val_roc_auc")
    assert headings(drawn) == ["Loss", "Accuracy", "Roc auc", "Learning rate"]
    assert lines_of(drawn, 2) == {"validation": pytest.approx([0.5, 0.6, 0.7])}


def test_a_regression_shows_its_error_and_keeps_losses_of_different_units_apart(tmp_path: Path, drawn: Drawn) -> None:
    log = task_log(tmp_path / "metrics.csv", "val_mae")
    draw_learning_curves(log, tmp_path / "curves.png", task="regression", monitor="val_mae", mode="min")
    assert headings(drawn) == ["Training loss", "Mean absolute error", "Learning rate"]
    assert lines_of(drawn, 0) == {"training": pytest.approx([1 / 10, 1 / 20, 1 / 30])}
    assert "squared error / variance" in drawn.words
    assert any("best val mae, 0.5, in epoch 0 " in word for word in drawn.words)


@pytest.mark.parametrize(
    ("task", "loss", "label"),
    [
        ("classification", "auto", "cross-entropy (nats)"),
        ("classification", "focal", "focal loss; validation: cross-entropy"),
        ("regression", "mae", "absolute error / deviation"),
        ("regression", "huber", "Huber loss, in deviations"),
    ],
)
def test_the_axis_of_the_loss_names_what_was_minimised(
    task: str, loss: str, label: str, tmp_path: Path, drawn: Drawn
) -> None:
    draw_learning_curves(run_log(tmp_path / "metrics.csv", 1), tmp_path / "curves.png", task=task, loss=loss)
    assert drawn.figure.axes[0].get_ylabel() == label


def test_every_loss_and_metric_of_the_settings_has_its_label() -> None:
    assert set(LOSS_LABELS) == {loss for losses in LOSSES.values() for loss in losses}
    assert set(METRIC_LABELS) == {metrics[1] for metrics in METRICS.values()}


def points(values: list[float], *, first: int = 1) -> Points:
    steps = np.arange(first, first + len(values))
    return Points(np.zeros(len(values), np.int64), steps, np.array(values))


@pytest.mark.parametrize(("count", "lines", "marker"), [(40, 1, "s"), (41, 1, ""), (79, 1, ""), (80, 2, "")])
def test_points_are_marked_up_to_40_and_smoothed_from_80_on(count: int, lines: int, marker: str) -> None:
    axes = Figure().subplots()
    values = [float(number % 7) for number in range(count)]
    _draw_training(axes, points(values))
    assert len(axes.lines) == lines
    assert axes.lines[-1].get_marker() == marker
    if lines == 2:
        assert np.array_equal(axes.lines[0].get_ydata(), values)
        assert np.allclose(np.asarray(axes.lines[1].get_ydata()), _running_mean(np.array(values), 2))  # 80 // 30


@pytest.mark.parametrize(("count", "marker"), [(40, "o"), (41, "")])
def test_validations_and_rates_are_marked_up_to_40(count: int, marker: str) -> None:
    axes, rates = Figure().subplots(1, 2)
    _draw_pair(axes, {"val_loss": points([1.0] * count)}, "loss", (0, 17, 1.0))
    _draw_rate(rates, points([0.5] * count))
    assert axes.lines[0].get_marker() == marker
    assert rates.lines[0].get_marker() == ("s" if marker else "")
    assert np.asarray(axes.lines[1].get_xdata()).tolist() == [17, 17]  # the best one


def test_scales_are_logarithmic_above_a_ratio_of_50_and_close_to_the_shares() -> None:
    for name, values, scale in (
        ("loss", [1.0, 50.0], "linear"),
        ("loss", [1.0, 50.1], "log"),
        ("mae", [1.0, 51.0], "log"),
        ("loss", [0.0, 51.0], "linear"),
        ("r2", [1.0, 51.0], "linear"),
    ):
        axes = Figure().subplots()
        _scale(axes, name, np.array(values))
        assert axes.get_yscale() == scale, (name, values)
    for values, limits in (([0.5, 0.9], (0.46, 0.94)), ([0.01, 0.01], (0, 0.03)), ([0.99, 1.0], (0.9695, 1.005))):
        axes = Figure().subplots()
        _scale(axes, "accuracy", np.array(values))
        assert axes.get_ylim() == pytest.approx(limits)


def test_the_rate_s_axis_begins_at_zero_and_ends_a_little_above_the_greatest() -> None:
    rising, zero = Figure().subplots(1, 2)
    _draw_rate(rising, points([0.1, 0.2]))
    assert rising.get_ylim() == pytest.approx((0, 0.21))
    _draw_rate(zero, points([0.0, 0.0]))
    assert zero.get_ylim()[0] < 0 < zero.get_ylim()[1]


def test_all_panels_show_the_steps_from_zero_to_a_little_more_than_the_last() -> None:
    assert _span({"a": points([1.0] * 50), "b": points([1.0] * 100), "c": points([])}) == pytest.approx((-2, 104))
    assert _span({}) == pytest.approx((-0.02, 1.04))
    assert _span({"a": points([1.0], first=0)}) == pytest.approx((-0.02, 1.04))


def test_the_best_is_the_first_of_equals_and_finite() -> None:
    values = points([math.nan, 0.5, 0.9, 0.9, math.inf], first=10)
    assert _best(values, "max") == (0, 12, 0.9)
    assert _best(values, "min") == (0, 11, 0.5)
    assert _best(points([math.nan]), "max") is None and _best(None, "max") is None
