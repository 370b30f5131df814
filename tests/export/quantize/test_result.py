from __future__ import annotations

import math

import pytest

from mlstack.export.quantize.result import points


@pytest.mark.parametrize(
    ("baseline", "score", "lost"),
    [
        (0.9, 0.88, 2.0),
        (0.9, 0.91, -1.0),
        (0.0, 0.0, 0.0),
        (0.0, 0.25, -25.0),
        (-2.0, -2.5, 25.0),  # of an error, times −1: a quarter more
        (-0.5, -0.25, -50.0),
    ],
)
def test_points_are_of_a_score_and_percent_of_an_error(baseline: float, score: float, lost: float) -> None:
    assert points(baseline, score) == pytest.approx(lost)


@pytest.mark.parametrize("baseline", [0.9, -2.0])
def test_a_file_that_answers_no_numbers_has_lost_everything(baseline: float) -> None:
    assert points(baseline, math.nan) == math.inf
