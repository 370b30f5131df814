from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)
from sklearn.metrics import log_loss as reference_loss

from mlstack.errors import DataError
from mlstack.metrics import ClassScores, label_rankings, multilabel_metrics, per_label_metrics, picture_losses

PROBABILITIES = np.array([[0.9, 0.2], [0.6, 0.7], [0.1, 0.4]], np.float32)
LABELS = np.array([[1, 0], [0, 1], [0, 1]], np.float32)


def random_case(n: int, num_labels: int, *, decimals: int = 6) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(n + num_labels)
    labels = (draw.random((n, num_labels)) < 0.3).astype(np.float32)
    noise = draw.random((n, num_labels))
    return (0.6 * noise + 0.4 * labels).round(decimals).clip(0.001, 0.999), labels


def test_three_pictures_worked_out_by_hand() -> None:
    metrics = multilabel_metrics(PROBABILITIES, LABELS)
    # First label: said twice, once rightly, applies once. Second: said once, rightly, applies twice.
    assert metrics["precision"] == pytest.approx((1 / 2 + 1) / 2)
    assert metrics["recall"] == pytest.approx((1 + 1 / 2) / 2)
    assert metrics["f1"] == pytest.approx(2 / 3)
    assert metrics["exact_match"] == pytest.approx(1 / 3)
    assert metrics["roc_auc"] == 1.0
    assert metrics["average_precision"] == 1.0
    of_truth = [0.9, 0.8, 0.4, 0.7, 0.9, 0.4]
    assert metrics["loss"] == pytest.approx(-sum(map(math.log, of_truth)) / 6)


@pytest.mark.parametrize("decimals", [1, 6])  # one decimal: many ties
@pytest.mark.parametrize("num_labels", [1, 5, 40])  # 40 = more than one block of columns
def test_all_figures_agree_with_scikit_learn(num_labels: int, decimals: int) -> None:
    probabilities, labels = random_case(400, num_labels, decimals=decimals)
    said = (probabilities >= 0.5).astype(int)
    truth = labels.astype(int)
    columns = range(num_labels)
    assert multilabel_metrics(probabilities, labels) == pytest.approx(
        {
            "loss": np.mean([reference_loss(truth[:, one], probabilities[:, one]) for one in columns]),
            "f1": np.mean([f1_score(truth[:, one], said[:, one]) for one in columns]),
            "precision": np.mean([precision_score(truth[:, one], said[:, one]) for one in columns]),
            "recall": np.mean([recall_score(truth[:, one], said[:, one]) for one in columns]),
            "exact_match": accuracy_score(truth, said) if num_labels > 1 else (truth == said).mean(),
            "roc_auc": np.mean([roc_auc_score(truth[:, one], probabilities[:, one]) for one in columns]),
            "average_precision": np.mean(
                [average_precision_score(truth[:, one], probabilities[:, one]) for one in columns]
            ),
        }
    )


def test_scores_of_each_label_agree_with_scikit_learn() -> None:
    probabilities, labels = random_case(200, 6)
    said, truth = probabilities >= 0.5, labels > 0
    rows = per_label_metrics(probabilities, labels)
    assert [row.f1 for row in rows] == pytest.approx(f1_score(truth, said, average=None).tolist())
    assert [row.support for row in rows] == truth.sum(axis=0).tolist()
    assert [row.predicted for row in rows] == said.sum(axis=0).tolist()


def test_average_precision_by_hand_with_a_tie() -> None:
    # Positives at 0.9 and 0.4, a negative at 0.4 too: precision 1 / 1 and 2 / 3.
    precision = label_rankings(np.array([[0.9], [0.4], [0.4], [0.1]]), np.array([[True], [True], [False], [False]]))[1]
    assert precision == pytest.approx((1 + 2 / 3) / 2)


def test_a_probability_of_exactly_one_half_says_that_the_label_applies() -> None:
    assert per_label_metrics(np.array([[0.5]]), np.array([[1.0]])) == [ClassScores(1.0, 1.0, 1.0, 1, 1)]


def test_labels_that_never_apply_and_are_never_said_are_left_out() -> None:
    probabilities = np.hstack([PROBABILITIES, np.full((3, 1), 0.1, np.float32)])
    labels = np.hstack([LABELS, np.zeros((3, 1), np.float32)])
    with_absent, without = multilabel_metrics(probabilities, labels), multilabel_metrics(PROBABILITIES, LABELS)
    assert {**with_absent, "loss": None} == {**without, "loss": None}


def test_a_label_that_applies_to_every_picture_has_no_area() -> None:
    metrics = multilabel_metrics(PROBABILITIES[:, :1], np.ones((3, 1)))
    assert metrics["roc_auc"] is None
    assert metrics["average_precision"] == 1.0


def test_pictures_without_any_label_can_be_scored() -> None:
    metrics = multilabel_metrics(np.full((2, 3), 0.1), np.zeros((2, 3)))
    assert metrics["exact_match"] == 1.0
    assert [name for name, value in metrics.items() if value is None] == [
        "f1", "precision", "recall", "roc_auc", "average_precision",
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_network_that_is_sure_and_wrong_has_a_finite_loss(dtype: type) -> None:
    loss = multilabel_metrics(np.array([[1.0, 0.0]], dtype), np.array([[0.0, 1.0]]))["loss"]
    assert loss == pytest.approx(-math.log(np.finfo(dtype).eps))


def test_the_loss_of_each_picture_adds_up_to_that_of_all() -> None:
    losses = picture_losses(PROBABILITIES, LABELS)
    assert losses[0] == pytest.approx(-(math.log(0.9) + math.log(0.8)) / 2)
    assert losses.mean() == pytest.approx(multilabel_metrics(PROBABILITIES, LABELS)["loss"])


@pytest.mark.parametrize("lost", [slice(None), slice(1, 2)])
def test_a_network_that_diverged_is_scored_without_a_loss(lost: slice) -> None:
    probabilities = PROBABILITIES.copy()
    probabilities[lost] = np.nan
    metrics = multilabel_metrics(probabilities, LABELS)
    assert metrics["loss"] is metrics["roc_auc"] is metrics["average_precision"] is None
    assert metrics["recall"] is not None
    json.dumps(metrics, allow_nan=False)


def test_an_empty_split_is_an_error_in_words() -> None:
    with pytest.raises(DataError, match="no picture to score"):
        multilabel_metrics(np.empty((0, 3)), np.empty((0, 3)))
