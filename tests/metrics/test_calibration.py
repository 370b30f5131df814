from __future__ import annotations

import numpy as np
import pytest

from mlstack.metrics import bins_of_classes, calibration_bins, classification_metrics


def test_five_decisions_worked_out_by_hand() -> None:
    confidence = np.array([0.95, 0.98, 0.94, 0.55, 0.58])
    bins = calibration_bins(confidence, np.array([True, True, False, True, False]))
    # 0.95, 0.98, 0.94 fall into the last bin (14/15 = 0.9333 … 1), 0.55 and 0.58 into the ninth (0.5333 … 0.6).
    assert bins.pictures.tolist() == [0] * 8 + [2] + [0] * 5 + [3]
    assert bins.confidence[[8, 14]] == pytest.approx([0.565, 2.87 / 3])
    assert bins.accuracy[[8, 14]] == pytest.approx([0.5, 2 / 3])
    assert bins.error == pytest.approx(2 / 5 * 0.065 + 3 / 5 * (2.87 / 3 - 2 / 3))


def test_a_bin_holds_its_upper_edge_and_the_first_one_also_zero() -> None:
    bins = calibration_bins(np.array([0.0, 0.25, 0.5, 0.50001, 1.0]), np.ones(5, bool), bins=4)
    assert bins.pictures.tolist() == [2, 1, 1, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_error_agrees_with_a_plain_loop_over_the_bins(dtype: type) -> None:
    draw = np.random.default_rng(0)
    confidence = draw.random(1000).astype(dtype)
    right = draw.random(1000) < confidence**2
    expected = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        expected += abs(right[inside].sum() - confidence[inside].sum(dtype=np.float64)) / 1000
    assert calibration_bins(confidence, right).error == pytest.approx(expected)


def test_a_network_whose_confidence_is_its_accuracy_has_no_error() -> None:
    confidence = np.full(100, 0.75)
    assert calibration_bins(confidence, np.arange(100) < 75).error == pytest.approx(0)


def test_the_confidence_is_that_of_the_class_decided_for() -> None:
    probabilities = np.array([[0.8, 0.2], [0.3, 0.7]], np.float32)
    bins = bins_of_classes(probabilities, np.array([0, 1]), np.array([0, 0]))
    assert bins.error == pytest.approx((0.2 + 0.7) / 2)
    assert classification_metrics(probabilities, np.array([0, 0]))["calibration_error"] == pytest.approx(0.45)


def test_no_picture_at_all_has_no_error() -> None:
    assert calibration_bins(np.empty(0), np.empty(0, bool)).error == 0.0
