from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, top_k_accuracy_score

from mlstack.metrics import hit_rate, macro_roc_auc, top_k


def random_case(n: int, num_classes: int, *, decimals: int = 6) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(n + num_classes)
    probabilities = generator.dirichlet(np.ones(num_classes), n).round(decimals)
    return probabilities, generator.integers(0, num_classes, n)


def test_top_k_lists_the_likeliest_class_first() -> None:
    assert top_k(np.array([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3]]), 2).tolist() == [[1, 2], [0, 2]]


def test_equal_probabilities_come_in_the_order_of_the_classes_as_with_argmax() -> None:
    probabilities = np.array([[0.25, 0.25, 0.25, 0.25], [0.0, 0.5, 0.0, 0.5]])
    assert top_k(probabilities, 3).tolist() == [[0, 1, 2], [1, 3, 0]]
    assert np.array_equal(top_k(probabilities, 1)[:, 0], probabilities.argmax(axis=1))


def test_more_guesses_than_classes_are_all_classes() -> None:
    assert top_k(np.array([[0.4, 0.6]]), 5).tolist() == [[1, 0]]
    assert hit_rate(np.array([[0.4, 0.6]]), np.array([0]), 5) == 1.0


@pytest.mark.parametrize("decimals", [1, 6])  # one decimal: most rows hold ties
@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_hit_rate_is_the_share_of_labels_in_top_k(k: int, decimals: int) -> None:
    probabilities, labels = random_case(300, 8, decimals=decimals)
    expected = (top_k(probabilities, k) == labels[:, None]).any(axis=1).mean()
    assert hit_rate(probabilities, labels, k) == pytest.approx(expected)


def test_the_hit_rate_agrees_with_scikit_learn() -> None:
    probabilities, labels = random_case(500, 20)
    expected = top_k_accuracy_score(labels, probabilities, k=5, labels=np.arange(20))
    assert hit_rate(probabilities, labels, 5) == pytest.approx(expected)


def test_the_area_worked_out_by_hand_comes_out() -> None:
    # Positives at 0.4 and 0.9, negatives at 0.1 and 0.4: three pairs in order and one tie of four = 3.5 / 4.
    scores = np.array([0.1, 0.4, 0.4, 0.9])
    probabilities = np.stack([1 - scores, scores], axis=1)
    assert macro_roc_auc(probabilities, np.array([0, 0, 1, 1])) == pytest.approx(0.875)


@pytest.mark.parametrize("decimals", [1, 6])
@pytest.mark.parametrize("num_classes", [3, 10, 40])  # 40 = more than one block of columns
def test_the_area_agrees_with_scikit_learn_with_and_without_ties(num_classes: int, decimals: int) -> None:
    probabilities, labels = random_case(600, num_classes, decimals=decimals)
    expected = np.mean([roc_auc_score(labels == c, probabilities[:, c]) for c in range(num_classes)])
    assert macro_roc_auc(probabilities, labels) == pytest.approx(expected)


def test_two_classes_give_the_area_of_either() -> None:
    probabilities, labels = random_case(200, 2)
    assert macro_roc_auc(probabilities, labels) == pytest.approx(roc_auc_score(labels, probabilities[:, 1]))


def test_absent_classes_are_left_out_of_the_area() -> None:
    probabilities, labels = random_case(200, 5)
    labels[labels == 3] = 1
    expected = np.mean([roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 1, 2, 4)])
    assert macro_roc_auc(probabilities, labels) == pytest.approx(expected)


def test_there_is_no_area_when_all_pictures_are_of_one_class() -> None:
    probabilities, _ = random_case(20, 3)
    assert macro_roc_auc(probabilities, np.ones(20, np.int64)) is None
