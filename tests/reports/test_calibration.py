from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from mlstack.errors import OutputError
from mlstack.metrics import calibration_bins
from mlstack.reports.calibration import draw_calibration

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
