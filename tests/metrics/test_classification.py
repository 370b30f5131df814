from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss, precision_score, recall_score

from mlstack.errors import DataError
from mlstack.metrics import classification_metrics

KEYS = ["loss", "accuracy", "top5_accuracy", "precision", "recall", "f1", "roc_auc", "calibration_error"]


def test_three_pictures_worked_out_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7]])
    metrics = classification_metrics(probabilities, np.array([0, 1, 1]))
    assert list(metrics) == KEYS
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["top5_accuracy"] == 1.0
    assert metrics["precision"] == pytest.approx((1 / 2 + 1) / 2)
    assert metrics["recall"] == pytest.approx((1 + 1 / 2) / 2)
    assert metrics["f1"] == pytest.approx(2 / 3)
    assert metrics["roc_auc"] == 1.0
    assert metrics["loss"] == pytest.approx(-(math.log(0.8) + math.log(0.4) + math.log(0.7)) / 3)
    # 0.8 right, 0.6 wrong, 0.7 right: each alone in its bin.
    assert metrics["calibration_error"] == pytest.approx((0.2 + 0.6 + 0.3) / 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("num_classes", "occurring"), [(2, 2), (10, 10), (30, 12)])
def test_all_figures_agree_with_scikit_learn(num_classes: int, occurring: int, dtype: type) -> None:
    generator = np.random.default_rng(num_classes)
    labels = generator.integers(0, occurring, 400)
    logits = generator.normal(size=(400, num_classes)) + 2 * np.eye(num_classes)[labels]
    probabilities = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(dtype)
    decisions = probabilities.argmax(axis=1)
    metrics = classification_metrics(probabilities, labels)
    macro = {"average": "macro", "zero_division": 0}
    assert metrics["accuracy"] == pytest.approx(accuracy_score(labels, decisions))
    assert metrics["precision"] == pytest.approx(precision_score(labels, decisions, **macro))
    assert metrics["recall"] == pytest.approx(recall_score(labels, decisions, **macro))
    assert metrics["f1"] == pytest.approx(f1_score(labels, decisions, **macro))
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = log_loss(labels, exact, labels=np.arange(num_classes))
    assert metrics["loss"] == pytest.approx(expected, rel=1e-5)


def test_a_single_picture_is_scored_and_has_no_area() -> None:
    metrics = classification_metrics(np.array([[0.1, 0.9, 0.0]]), np.array([1]))
    unlike = {"roc_auc": None, "loss": pytest.approx(-math.log(0.9)), "calibration_error": pytest.approx(0.1)}
    assert metrics == {**dict.fromkeys(KEYS, 1.0), **unlike}


def test_a_probability_of_zero_for_the_truth_leaves_the_loss_finite() -> None:
    loss = classification_metrics(np.array([[1.0, 0.0]], np.float32), np.array([1]))["loss"]
    assert loss == pytest.approx(-math.log(np.finfo(np.float32).eps))


def test_a_network_that_diverged_is_scored_without_a_loss() -> None:
    metrics = classification_metrics(np.full((4, 3), np.nan), np.array([0, 1, 2, 0]))
    assert metrics["accuracy"] == 0.5  # all decided for the first class
    assert metrics["loss"] is None
    assert metrics["roc_auc"] is None
    assert metrics["calibration_error"] is None
    json.dumps(metrics, allow_nan=False)


def test_an_empty_split_is_an_error_in_words() -> None:
    with pytest.raises(DataError, match="no picture to score"):
        classification_metrics(np.empty((0, 3)), np.empty(0, np.int64))


def test_a_label_that_is_not_a_class_is_named() -> None:
    with pytest.raises(DataError, match="label 7 is none of the 3 classes"):
        classification_metrics(np.full((1, 3), 1 / 3), np.array([7]))
