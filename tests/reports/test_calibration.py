from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from mlstack.errors import OutputError
from mlstack.metrics import calibration_bins
from mlstack.reports.calibration import draw_calibration, draw_calibration_change

if TYPE_CHECKING:
    from tests.reports.conftest import Drawn

CONFIDENCE = np.array([0.95, 0.98, 0.94, 0.55, 0.58])
RIGHT = np.array([True, True, False, True, False])


def test_a_bin_has_a_bar_as_high_as_its_accuracy_and_a_hatched_gap_to_its_confidence(
    tmp_path: Path, drawn: Drawn
) -> None:
    draw_calibration(calibration_bins(CONFIDENCE, RIGHT), tmp_path / "calibration.png")
    bars = [patch for patch in drawn.figure.axes[0].patches if isinstance(patch, Rectangle)]
    accuracy = {round(bar.get_x() * 15): bar.get_height() for bar in bars if not bar.get_hatch()}
    assert accuracy == pytest.approx({8: 0.5, 14: 2 / 3})
    tops = {round(bar.get_x() * 15): bar.get_y() + bar.get_height() for bar in bars if bar.get_hatch()}
    assert tops == pytest.approx({8: 0.565, 14: 2.87 / 3})


def test_the_shares_of_pictures_stand_below(tmp_path: Path, drawn: Drawn) -> None:
    draw_calibration(calibration_bins(CONFIDENCE, RIGHT), tmp_path / "calibration.png")
    heights = [bar.get_height() for bar in drawn.figure.axes[1].patches if isinstance(bar, Rectangle)]
    assert len(heights) == 15
    assert (heights[8], heights[14]) == (0.4, 0.6)


def test_the_figure_says_how_sure_how_right_and_how_far_apart(tmp_path: Path, drawn: Drawn) -> None:
    bins = calibration_bins(CONFIDENCE, RIGHT)
    draw_calibration(bins, tmp_path / "calibration.png", title="Calibration, test split")
    note = f"mean confidence 80.0%, accuracy 60.0%; expected calibration error {bins.error:.2%} (15 bins)"
    assert {"Calibration, test split", note, "well calibrated"} <= set(drawn.words)


def test_no_picture_at_all_still_gives_a_figure(tmp_path: Path) -> None:
    bins = calibration_bins(np.empty(0), np.empty(0, bool))
    assert draw_calibration(bins, tmp_path / "calibration.png").stat().st_size > 0


def test_a_figure_that_cannot_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        draw_calibration(calibration_bins(CONFIDENCE, RIGHT), tmp_path / "file" / "calibration.png")


def test_before_and_after_a_temperature_stand_side_by_side_with_their_errors(tmp_path: Path, sketched: Drawn) -> None:
    before, after = calibration_bins(CONFIDENCE, RIGHT), calibration_bins(CONFIDENCE / 2, RIGHT)
    draw_calibration_change(before, after, tmp_path / "change.png", title="Calibration", note="5 pictures")
    left, right = sketched.figure.axes
    assert left.get_xlabel() == f"confidence before: expected calibration error {before.error:.2%}"
    assert right.get_xlabel() == f"confidence after: expected calibration error {after.error:.2%}"
    assert left.get_xlim() == right.get_xlim() == left.get_ylim() == (0, 1)
    assert left.get_legend() is not None and right.get_legend() is None
    assert sketched.figure.get_size_inches() == pytest.approx((8.4, 4.6))
    assert {"Calibration", "5 pictures", "share of them that is right"} <= set(sketched.words)


def test_bars_lie_within_their_bins_and_the_diagonal_is_dashed(tmp_path: Path, sketched: Drawn) -> None:
    draw_calibration(calibration_bins(CONFIDENCE, RIGHT), tmp_path / "calibration.png")
    reliability, pictures = sketched.figure.axes
    for axes in (reliability, pictures):
        for bar in axes.patches:
            assert isinstance(bar, Rectangle)
            place = round(bar.get_x() * 15)
            assert bar.get_x() == pytest.approx(place / 15) and 0.8 / 15 < bar.get_width() < 1 / 15
    [diagonal] = reliability.lines
    assert (list(diagonal.get_xdata()), list(diagonal.get_ydata())) == ([0, 1], [0, 1])  # type: ignore[arg-type]
    assert pictures.get_xlim() == reliability.get_ylim() == (0, 1)
    assert sketched.figure.get_size_inches() == pytest.approx((5.2, 5.6))
