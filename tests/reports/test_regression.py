from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mlstack.errors import OutputError
from mlstack.reports.regression import _histogram, _scatter, draw_predicted_against_true, draw_residuals

if TYPE_CHECKING:
    from tests.reports.conftest import Drawn

TRUTH = np.array([[2.5], [3.2], [1.8], [4.1], [2.9]], np.float32)
SAID = np.array([[2.3], [3.5], [1.6], [4.0], [3.1]], np.float32)


def several(n: int, targets: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(n + targets)
    truth = draw.normal(size=(n, targets)).astype(np.float32)
    return truth + draw.normal(size=truth.shape).astype(np.float32) / 4, truth


def test_points_lie_at_true_and_predicted_with_the_scores_above(tmp_path: Path, drawn: Drawn) -> None:
    draw_predicted_against_true(SAID, TRUTH, ["price"], tmp_path / "scatter.png", title="digits, test")
    axes = drawn.figure.axes[0]
    points = next(artist for artist in axes.collections if isinstance(artist, PathCollection))
    assert np.allclose(np.asarray(points.get_offsets()), np.hstack([TRUTH, SAID]))
    assert axes.get_title(loc="left") == "price\nR² 0.924, MAE 0.20"
    assert {"digits, test", "true", "predicted", "dashed: predicted = true"} <= set(drawn.words)


def test_the_identity_line_goes_through_the_whole_panel_of_equal_axes(tmp_path: Path, drawn: Drawn) -> None:
    draw_predicted_against_true(SAID, TRUTH, ["price"], tmp_path / "scatter.png")
    axes = drawn.figure.axes[0]
    line = axes.lines[0]
    assert np.array_equal(line.get_xdata(), line.get_ydata())
    assert tuple(np.asarray(line.get_xdata())) == axes.get_xlim() == axes.get_ylim()


def test_the_residuals_are_counted_around_zero(tmp_path: Path, drawn: Drawn) -> None:
    draw_residuals(SAID, TRUTH, ["price"], tmp_path / "residuals.png")
    axes = drawn.figure.axes[0]
    heights = [bar.get_height() for bar in axes.patches]  # type: ignore[attr-defined]
    assert sum(heights) == 5
    assert sum(heights[: len(heights) // 2]) == 3  # three of five were said too little
    assert [float(np.asarray(line.get_xdata())[0]) for line in axes.lines] == pytest.approx([0, 0], abs=1e-6)


@pytest.mark.parametrize("draw", [draw_predicted_against_true, draw_residuals])
@pytest.mark.parametrize(("targets", "shown"), [(1, 1), (4, 4), (5, 5), (14, 12)])
def test_each_target_has_a_panel_up_to_twelve(
    draw: type, targets: int, shown: int, tmp_path: Path, drawn: Drawn
) -> None:
    said, truth = several(30, targets)
    draw(said, truth, [f"target {index}" for index in range(targets)], tmp_path / "figure.png")
    visible = [axes for axes in drawn.figure.axes if axes.get_visible()]
    assert len(visible) == shown
    assert any(word.startswith("the first 12 of 14 targets") for word in drawn.words) == (targets == 14)


def test_of_very_many_pictures_some_are_drawn_and_the_note_says_so(tmp_path: Path, drawn: Drawn) -> None:
    said, truth = several(6000, 1)
    draw_predicted_against_true(said, truth, ["price"], tmp_path / "scatter.png")
    points = drawn.figure.axes[0].collections[0]
    assert len(np.asarray(points.get_offsets())) == 5000
    assert "dashed: predicted = true; 5,000 of 6,000 pictures are drawn, and all are scored" in drawn.words


@pytest.mark.parametrize("draw", [draw_predicted_against_true, draw_residuals])
def test_predictions_of_a_network_that_diverged_are_counted(draw: type, tmp_path: Path, drawn: Drawn) -> None:
    said = SAID.copy()
    said[1] = np.inf
    draw(np.hstack([said, np.full_like(said, np.nan)]), np.hstack([TRUTH, TRUTH]), ["a", "b"], tmp_path / "f.png")
    assert {"1 predictions are\nNaN or infinite", "5 predictions are\nNaN or infinite"} <= set(drawn.words)
    assert "a\nR² –, MAE –" in drawn.words


@pytest.mark.parametrize("draw", [draw_predicted_against_true, draw_residuals])
def test_a_target_that_never_varies_and_is_hit_exactly_is_drawn(draw: type, tmp_path: Path, drawn: Drawn) -> None:
    constant = np.full((3, 1), 7, np.float32)
    draw(constant, constant, ["seven"], tmp_path / "figure.png")
    assert "seven\nR² –, MAE 0.00" in drawn.words


def test_names_are_not_read_as_formulas_and_those_without_a_font_become_numbers(
    tmp_path: Path, drawn: Drawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlstack.reports.fonts._installed", lambda: ())
    said, truth = several(10, 3)
    draw_residuals(said, truth, ["$x", "年龄", "a long name " * 9], tmp_path / "residuals.png")
    names = [axes.get_title(loc="left").splitlines()[0] for axes in drawn.figure.axes]
    assert names[:2] == ["$x", "target 1"]
    assert len(names[2]) == 30


def test_a_figure_that_cannot_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        draw_residuals(SAID, TRUTH, ["price"], tmp_path / "file" / "residuals.png")


def test_points_have_a_margin_on_all_sides_and_are_paler_where_there_are_many() -> None:
    for count, alpha in ((10, 0.7), (600, 0.5), (5000, 0.12)):
        axes = Figure().subplots()
        values = np.linspace(0, 100, count)
        _scatter(axes, values, values[::-1])
        assert axes.get_xlim() == axes.get_ylim() == pytest.approx((-4, 104))
        assert axes.collections[0].get_alpha() == pytest.approx(alpha)
    axes = Figure().subplots()
    _scatter(axes, np.full(3, 7.0), np.full(3, 7.0))
    assert axes.get_xlim() == (6, 8)


@pytest.mark.parametrize(("count", "bins"), [(5, 10), (120, 10), (121, 11), (1600, 40), (5000, 40)])
def test_residuals_are_counted_in_as_many_bins_as_there_are_pictures_for(count: int, bins: int) -> None:
    axes = Figure().subplots()
    residuals = np.linspace(-3, 1, count)
    _histogram(axes, residuals, np.zeros(count))
    bars = [bar for bar in axes.patches if isinstance(bar, Rectangle)]
    assert len(bars) == bins
    assert bars[0].get_x() == -3 and bars[-1].get_x() + bars[-1].get_width() == pytest.approx(3)
    assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines] == [[0, 0], pytest.approx([-1, -1])]


@pytest.mark.parametrize(("targets", "size"), [(1, (4.6, 4.1)), (2, (6.6, 4.1)), (4, (13.2, 4.1)), (5, (13.2, 7.5))])
def test_panels_stand_four_in_a_row(targets: int, size: tuple[float, float], tmp_path: Path, sketched: Drawn) -> None:
    said, truth = several(9, targets)
    draw_residuals(said, truth, [f"t{number}" for number in range(targets)], tmp_path / "f.png")
    assert sketched.figure.get_size_inches() == pytest.approx(size)
