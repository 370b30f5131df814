from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mlstack.datasets.base import Split
from mlstack.datasets.images import ArrayImages
from mlstack.reports.guarded import draw_each
from mlstack.reports.run_figures import split_figures

if TYPE_CHECKING:
    from tests.reports.conftest import Drawn


@pytest.fixture
def split() -> Split:
    draw = np.random.default_rng(0)
    pictures = draw.integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    return Split(ArrayImages(pictures), np.array([0, 1, 0, 1, 0, 1]), [f"test/{index}" for index in range(6)])


FIGURES = {
    "classification": ["confusion_matrix", "class_scores", "calibration", "sample_predictions", "worst_mistakes"],
    "multilabel": ["label_scores", "sample_predictions", "worst_mistakes"],
    "regression": ["predicted_against_true", "residuals", "sample_predictions", "worst_misses"],
}
OUTPUTS = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]], np.float32)  # of the first four


def of_task(split: Split, task: str) -> Split:
    """The same pictures with one class each, several labels or numbers."""
    labels = split.labels if task == "classification" else np.eye(2, dtype=np.float32)[split.labels]
    return dataclasses.replace(split, labels=labels)


@pytest.mark.parametrize("task", FIGURES)
def test_each_task_has_its_figures(task: str, split: Split, tmp_path: Path) -> None:
    split = of_task(split, task)
    files = draw_each(split_figures(tmp_path, split, OUTPUTS, ["cat", "dog"], task=task, name="test", suffix="_test"))
    assert [file.name for file in files] == [f"{name}_test.png" for name in FIGURES[task]]
    for file in files:
        with Image.open(file) as image:
            assert image.format == "PNG"


@pytest.mark.parametrize("task", FIGURES)
def test_a_split_without_mistakes_has_them_too(task: str, split: Split, tmp_path: Path) -> None:
    outputs = np.eye(2)[split.labels]
    files = draw_each(split_figures(tmp_path, of_task(split, task), outputs, ["cat", "dog"], task=task, name="val"))
    assert len(files) == len(FIGURES[task])


@pytest.mark.parametrize("task", FIGURES)
def test_a_network_that_diverged_has_them_too(task: str, split: Split, tmp_path: Path) -> None:
    lost = np.full((6, 2), np.nan, np.float32)
    files = draw_each(split_figures(tmp_path, of_task(split, task), lost, ["cat", "dog"], task=task, name="val"))
    assert len(files) == len(FIGURES[task])


def test_the_sample_is_spread_over_the_split(split: Split, tmp_path: Path, drawn: Drawn) -> None:
    many = np.zeros((100, 8, 8, 1), np.uint8)
    values = np.arange(100, dtype=np.float32)[:, None]
    spread = Split(ArrayImages(many), values, [f"test/{index}" for index in range(100)])
    draw_each(split_figures(tmp_path, spread, values + values, ["price"], task="regression", name="test"))
    assert "198.00 (99.00)" in drawn.words  # the last one, and the greatest miss


class Unreadable(ArrayImages):
    def read(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        raise OSError(5, "Input/output error")


def test_pictures_that_cannot_be_read_cost_the_figures_that_show_them(
    split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = dataclasses.replace(split, images=Unreadable(split.images.read(np.arange(6))))
    figures = split_figures(tmp_path, broken, OUTPUTS, ["cat", "dog"], task="classification", name="test")
    assert [path.stem for path in draw_each(figures)] == ["confusion_matrix", "class_scores", "calibration"]
    assert [line.partition(": OSError")[0] for line in capsys.readouterr().out.splitlines()] == [
        f"warning: figure {name} could not be drawn" for name in ("sample_predictions", "worst_mistakes")
    ]


def test_a_folder_that_cannot_be_written_costs_a_line_for_each_figure(
    split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "figures").write_text("a file where the folder should be")
    outputs = np.eye(2)[split.labels]
    figures = split_figures(tmp_path / "figures", split, outputs, ["cat", "dog"], task="classification", name="val")
    assert draw_each(figures) == []
    assert capsys.readouterr().out.count("can't be written") == len(FIGURES["classification"])


def test_predictions_that_do_not_fit_the_labels_cost_one_line_when_they_are_drawn(
    split: Split, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unfit = np.ones(1)  # no axis of classes
    figures = split_figures(tmp_path, split, unfit, ["cat", "dog"], task="classification", name="val")
    assert draw_each(figures) == []
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("warning: figures could not be prepared: AxisError: ")
