from __future__ import annotations

import numpy as np
import pytest

from mlstack.export.parity import Parity, compare

FEATURES = np.array([[1.0, -4.0], [2.0, 0.0]], np.float32)
OUTPUTS = np.array([[0.7, 0.3], [0.500001, 0.499999]], np.float32)


def compared(output: np.ndarray, features: np.ndarray = FEATURES, task: str = "classification") -> Parity:
    return compare(OUTPUTS, FEATURES, output, features, task=task)


def test_the_same_answers_agree_without_error() -> None:
    parity = compared(OUTPUTS.copy())
    assert (parity.images, parity.relative_error, parity.agreement, parity.agreement_clear) == (2, 0, 1, 1)
    assert parity.failure(1e-9) is None


def test_the_error_is_the_larger_one_of_answers_and_features_each_relative_to_its_largest() -> None:
    parity = compared(OUTPUTS + np.float32(0.0007), FEATURES + np.float32(0.04))
    assert parity.output_error == pytest.approx(0.001, rel=1e-3)
    assert parity.feature_error == pytest.approx(0.01, rel=1e-3)
    assert parity.relative_error == parity.feature_error
    assert parity.failure(0.02) is None
    assert parity.failure(0.005) == "relative error 0.01 in its features, allowed 0.005"


def test_where_two_classes_are_equally_likely_either_may_come_first() -> None:
    turned = OUTPUTS.copy()
    turned[1] = turned[1, ::-1]
    parity = compared(turned)
    assert (parity.agreement, parity.clear, parity.agreement_clear) == (0.5, 1, 1)
    assert parity.failure(1e-3) is None


def test_a_clear_decision_that_is_another_one_fails_whatever_error_is_allowed() -> None:
    turned = OUTPUTS.copy()
    turned[0] = turned[0, ::-1]
    assert compared(turned).failure(10) == "1 of 1 clear decisions are other ones"


def test_no_number_is_no_agreement() -> None:
    broken = OUTPUTS.copy()
    broken[1, 1] = np.nan
    assert "nan" in (compared(broken).failure(1e9) or "")
    assert "features" in (compared(OUTPUTS, FEATURES * np.float32(np.nan)).failure(1e9) or "")


def test_of_several_labels_each_is_a_decision() -> None:
    parity = compared(np.array([[0.7, 0.6], [0.500001, 0.499999]], np.float32), task="multilabel")
    assert (parity.agreement, parity.clear, parity.agreement_clear) == (0.75, 2, 0.5)


def test_of_numbers_each_target_is_measured_by_its_own_size() -> None:
    expected = np.array([[1000, 1], [2000, 2]], np.float32)
    parity = compare(expected, FEATURES, expected + np.array([0, 0.2], np.float32), FEATURES, task="regression")
    assert parity.output_error == pytest.approx(0.1)
    assert parity.agreement is None
    assert "agreement" not in parity.facts()


def test_an_answer_that_is_always_nothing_is_compared_by_its_difference() -> None:
    nothing = np.zeros((2, 2), np.float32)
    assert compare(nothing, nothing, nothing, nothing, task="classification").relative_error == 0
