from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mlstack.metrics import per_class_metrics, per_label_metrics
from mlstack.reports.class_scores import _draw_bars, draw_class_scores

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


def test_each_class_has_three_bars_side_by_side_and_its_f1_beside_the_last() -> None:
    scores = per_class_metrics(np.array([[860, 40, 0], [15, 85, 3], [2, 1, 9]]))
    axes = Figure().subplots()
    _draw_bars(axes, scores)
    bars = [[bar for bar in container if isinstance(bar, Rectangle)] for container in axes.containers]
    for row, (score, group) in enumerate(zip(scores, zip(*bars, strict=True), strict=True)):
        assert [bar.get_x() for bar in group] == [0, 0, 0]
        assert [bar.get_width() for bar in group] == [score.precision, score.recall, score.f1]
        middles = [bar.get_y() + bar.get_height() / 2 for bar in group]
        assert middles[1] == row and middles[0] + middles[2] == pytest.approx(2 * row)
        edges = [edge for bar in group for edge in (bar.get_y(), bar.get_y() + bar.get_height())]
        assert edges == sorted(edges) and row - 0.5 < edges[0] and edges[-1] < row + 0.5
        assert sum(bar.get_height() for bar in group) > 0.6
        x, y = axes.texts[row].get_position()
        assert 1 < x < 1.05 and y == pytest.approx(middles[2])
    assert axes.get_xlim() == (0, 1)
    bottom, top = axes.get_ylim()
    assert 2.5 <= bottom <= 2.7 and -0.7 <= top <= -0.5  # all bars, and little besides
    assert axes.texts[3].get_text() == "F1" and top - 0.3 < axes.texts[3].get_position()[1] < top


def test_the_figure_grows_with_its_classes(tmp_path: Path, sketched: Drawn) -> None:
    for count, height in ((1, 2.58), (2, 2.58), (10, 5.3)):
        scores = per_class_metrics(np.eye(count, dtype=np.int64))
        draw_class_scores(scores, [f"c{number}" for number in range(count)], tmp_path / "scores.png")
        assert sketched.figure.get_size_inches() == pytest.approx((7.5, height))
