from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlstack.reports.value_pictures import draw_file_values, draw_value_predictions, worst_misses

if TYPE_CHECKING:
    from tests.reports.conftest import Drawn

TRUTH = np.array([[2.5], [3.2], [1.8], [4.1], [2.9]], np.float32)
SAID = np.array([[2.3], [3.6], [1.7], [4.1], [3.2]], np.float32)


def pictures(number: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (number, 8, 8, 1), dtype=np.uint8)


def test_the_worst_misses_come_first() -> None:
    assert worst_misses(SAID, TRUTH).tolist() == [1, 4, 0, 2, 3]
    assert worst_misses(SAID, TRUTH, 2).tolist() == [1, 4]


def test_a_target_in_thousands_counts_no_more_than_one_in_thousandths() -> None:
    said = np.hstack([SAID * 1e5, SAID[::-1] / 1e3])
    truth = np.hstack([TRUTH * 1e5, TRUTH[::-1] / 1e3])
    # In tenths: 2 4 1 0 3 of the first target and 3 0 1 4 2 of the second, together 5 4 2 4 5.
    assert set(worst_misses(said, truth, 2).tolist()) == {0, 4}


def test_predictions_of_a_network_that_diverged_are_the_worst() -> None:
    said = SAID.copy()
    said[3] = np.nan
    assert worst_misses(said, TRUTH, 1).tolist() == [3]


def test_a_target_that_never_varies_does_not_divide_by_zero() -> None:
    assert worst_misses(np.array([[1.0], [3.0]]), np.ones((2, 1))).tolist() == [1, 0]


def test_a_single_target_shows_prediction_and_truth_with_its_name_below_the_figure(
    tmp_path: Path, drawn: Drawn
) -> None:
    draw_value_predictions(pictures(5), SAID, TRUTH, ["price"], tmp_path / "samples.png", title="Samples")
    assert {"2.30 (2.50)", "3.60 (3.20)", "price: predicted (true)", "Samples"} <= set(drawn.words)


def test_several_targets_have_a_line_each(tmp_path: Path, drawn: Drawn) -> None:
    said, truth = np.array([[34.2, 123456.7]]), np.array([[33.0, 0.00031]])
    draw_value_predictions(pictures(1), said, truth, ["age", "a very long name"], tmp_path / "samples.png")
    assert "age 34.20 (33.00)\na …e 123,457 (0.00031)" in drawn.words
    assert "predicted (true)" in drawn.words


def test_of_many_targets_four_are_shown(tmp_path: Path, drawn: Drawn) -> None:
    said = np.arange(6.0)[None]
    draw_file_values(pictures(1), said, ["a.jpg"], [f"t{index}" for index in range(6)], tmp_path / "p.png")
    assert "t0 0.00\nt1 1.00\nt2 2.00\nt3 3.00\n+2 more\na.jpg" in drawn.words
    assert "the first 4 of 6 targets: predicted" in drawn.words


def test_new_files_are_shown_by_name_with_their_number(tmp_path: Path, drawn: Drawn) -> None:
    draw_file_values(pictures(2), SAID[:2], ["a.jpg", "b.jpg"], ["price"], tmp_path / "p.png")
    assert {"2.30\na.jpg", "3.60\nb.jpg", "price: predicted"} <= set(drawn.words)
