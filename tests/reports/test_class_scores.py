from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlstack.metrics import per_class_metrics, per_label_metrics
from mlstack.reports.class_scores import draw_class_scores

if TYPE_CHECKING:
    from tests.reports.conftest import Drawn


def test_the_worst_class_stands_on_top_with_its_score(tmp_path: Path, drawn: Drawn) -> None:
    scores = per_class_metrics(np.array([[860, 40], [15, 85]]))
    draw_class_scores(scores, ["no", "yes"], tmp_path / "scores.png", title="digits, test")
    axes = drawn.figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["yes  (100)", "no  (900)"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert {"precision", "recall", "F1", "0.756", "digits, test"} <= set(drawn.words)


def test_of_many_classes_the_worst_thirty_are_shown(tmp_path: Path, drawn: Drawn) -> None:
    matrix = np.diag(np.arange(1, 101))
    matrix[:, 0] += 5
    draw_class_scores(per_class_metrics(matrix), [f"kind {n}" for n in range(100)], tmp_path / "scores.png")
    assert len(drawn.figure.axes[0].get_yticklabels()) == 30
    assert "the 30 worst of 100 classes" in drawn.words


def test_classes_without_a_picture_are_left_out_and_counted(tmp_path: Path, drawn: Drawn) -> None:
    draw_class_scores(per_class_metrics(np.diag([4, 0, 2])), ["a", "b", "c"], tmp_path / "scores.png")
    labels = [label.get_text() for label in drawn.figure.axes[0].get_yticklabels()]
    assert labels == ["a  (4)", "c  (2)"]
    assert "worst F1 first; 1 classes without a picture are left out" in drawn.words


def test_no_class_at_all_still_gives_a_figure(tmp_path: Path) -> None:
    path = draw_class_scores(per_class_metrics(np.zeros((2, 2), np.int64)), ["a", "b"], tmp_path / "scores.png")
    assert path.stat().st_size > 0


def test_labels_are_called_labels(tmp_path: Path, drawn: Drawn) -> None:
    scores = per_label_metrics(np.array([[0.9, 0.2], [0.8, 0.1]]), np.array([[1, 0], [0, 0]]))
    draw_class_scores(scores, ["cat", "dog"], tmp_path / "scores.png", kind="label")
    assert {"label (pictures)", "worst F1 first; 1 labels without a picture are left out"} <= set(drawn.words)
