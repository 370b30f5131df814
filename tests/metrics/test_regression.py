from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score, root_mean_squared_error

from mlstack.errors import DataError
from mlstack.metrics import TargetScores, per_target_metrics, regression_metrics

TRUTH = np.array([[2.5], [3.2], [1.8], [4.1], [2.9]], np.float32)
SAID = np.array([[2.3], [3.5], [1.6], [4.0], [3.1]], np.float32)


def test_five_numbers_worked_out_by_hand() -> None:
    # Residuals -0.2, 0.3, -0.2, -0.1, 0.2: absolute 1.0 in all, squared 0.22; of the truth 2.90.
    metrics = regression_metrics(SAID, TRUTH)
    assert metrics["mae"] == pytest.approx(0.2)
    assert metrics["loss"] == pytest.approx(0.044)
    assert metrics["rmse"] == pytest.approx(0.044**0.5)
    assert round(metrics["rmse"] or 0, 4) == 0.2098
    assert metrics["r2"] == pytest.approx(1 - 0.22 / 2.90)


def test_several_targets_agree_with_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    truth = draw.normal(size=(300, 4)) * [1, 10, 0.01, 1000] + [0, 5, 0, -3000]
    said = truth + draw.normal(size=truth.shape) * [0.5, 2, 0.02, 100]
    metrics = regression_metrics(said, truth)
    assert metrics == pytest.approx(
        {
            "loss": mean_squared_error(truth, said),
            "mae": mean_absolute_error(truth, said),
            "rmse": root_mean_squared_error(truth, said),
            "r2": r2_score(truth, said),
        }
    )
    rows = per_target_metrics(said, truth)
    assert [row.r2 for row in rows] == pytest.approx(r2_score(truth, said, multioutput="raw_values"))
    assert [row.mae for row in rows] == pytest.approx(mean_absolute_error(truth, said, multioutput="raw_values"))


def test_numbers_far_from_zero_keep_their_digits() -> None:
    shift = np.float32(10_000)  # float32 sums of their squares would round the spread away
    truth = TRUTH + shift
    assert regression_metrics(SAID + shift, truth)["r2"] == pytest.approx(1 - 0.22 / 2.90, abs=2e-3)


def test_a_target_that_never_varies_is_left_out_of_r2_only() -> None:
    constant = np.full_like(TRUTH, 0.1)
    rows = per_target_metrics(np.hstack([SAID, constant + 1]), np.hstack([TRUTH, constant]))
    assert rows[1] == TargetScores(mae=pytest.approx(1), rmse=pytest.approx(1), r2=None)
    metrics = regression_metrics(np.hstack([SAID, constant + 1]), np.hstack([TRUTH, constant]))
    assert metrics["r2"] == pytest.approx(1 - 0.22 / 2.90)
    assert metrics["mae"] == pytest.approx(0.6)
    assert regression_metrics(constant, constant) == {"loss": 0, "mae": 0, "rmse": 0, "r2": None}


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_a_network_that_diverged_on_one_target_has_no_score_in_all(lost: float) -> None:
    said = np.hstack([SAID, SAID])
    said[3, 1] = lost
    truth = np.hstack([TRUTH, TRUTH])
    metrics = regression_metrics(said, truth)
    assert metrics == {"loss": None, "mae": None, "rmse": None, "r2": None}
    rows = per_target_metrics(said, truth)
    assert rows[0].mae == pytest.approx(0.2)
    assert rows[1] == TargetScores(None, None, None)


def test_the_scores_go_into_json() -> None:
    assert json.loads(json.dumps(regression_metrics(SAID, TRUTH)))["mae"] == pytest.approx(0.2)


def test_an_empty_split_is_an_error_in_words() -> None:
    with pytest.raises(DataError, match="no picture to score"):
        regression_metrics(np.empty((0, 2)), np.empty((0, 2)))
