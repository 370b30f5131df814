from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix as reference_matrix
from sklearn.metrics import precision_recall_fscore_support

from mlstack.errors import DataError
from mlstack.metrics import BinaryScores, ClassScores, binary_scores, confusion_matrix, per_class_metrics


def test_the_numbers_worked_out_by_hand_come_out() -> None:
    scores = binary_scores(tp=85, tn=860, fp=40, fn=15)
    assert scores.accuracy == pytest.approx(0.945)
    assert scores.precision == pytest.approx(0.68)
    assert scores.recall == pytest.approx(0.85)
    assert round(scores.f1, 4) == 0.7556  # 170 / 225, the 0.755 of the books


def test_the_same_numbers_come_out_of_a_confusion_matrix() -> None:
    positive = per_class_metrics(np.array([[860, 40], [15, 85]]))[1]
    assert positive == ClassScores(precision=85 / 125, recall=0.85, f1=170 / 225, support=100, predicted=125)


def test_nothing_counted_scores_zero_and_not_nan() -> None:
    assert binary_scores(tp=0, tn=0, fp=0, fn=0) == BinaryScores(0.0, 0.0, 0.0, 0.0)


def test_rows_are_the_truth_and_columns_the_decision() -> None:
    matrix = confusion_matrix(np.array([0, 0, 0, 2]), np.array([0, 1, 1, 2]), 3)
    assert matrix.dtype == np.int64
    assert matrix.tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 1]]


def test_a_class_that_is_never_predicted_has_precision_zero() -> None:
    rows = per_class_metrics(np.array([[3, 0], [2, 0]]))
    assert rows[0] == ClassScores(precision=0.6, recall=1.0, f1=0.75, support=3, predicted=5)
    assert rows[1] == ClassScores(precision=0.0, recall=0.0, f1=0.0, support=2, predicted=0)


@pytest.mark.parametrize("num_classes", [2, 10, 100])
def test_counts_and_scores_agree_with_scikit_learn(num_classes: int) -> None:
    generator = np.random.default_rng(num_classes)
    labels = generator.integers(0, max(num_classes - 1, 2), 150)  # the last of many classes is absent
    predicted = np.where(generator.random(150) < 0.6, labels, generator.integers(0, num_classes, 150))
    classes = np.arange(num_classes)
    matrix = confusion_matrix(labels, predicted, num_classes)
    assert np.array_equal(matrix, reference_matrix(labels, predicted, labels=classes))
    expected = precision_recall_fscore_support(labels, predicted, labels=classes, zero_division=0)
    rows = per_class_metrics(matrix)
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert np.allclose([getattr(row, name) for row in rows], values), name


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_label_outside_the_classes_is_named(wrong: int) -> None:
    with pytest.raises(DataError, match=f"label {wrong} is none of the 3 classes") as caught:
        confusion_matrix(np.array([0, wrong]), np.array([0, 0]), 3)
    assert "start at 0 and end at 2" in str(caught.value)
