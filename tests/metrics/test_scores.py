from __future__ import annotations

import json

import numpy as np
import pytest

from mlstack.config.trainer import METRICS
from mlstack.errors import ConfigError
from mlstack.metrics import classification_metrics, score

CASES = {
    "classification": (np.array([[0.8, 0.2], [0.3, 0.7]], np.float32), np.array([0, 1])),
    "multilabel": (np.array([[0.8, 0.2], [0.3, 0.7]], np.float32), np.array([[1, 0], [0, 1]], np.float32)),
    "regression": (np.array([[2.5], [3.0]], np.float32), np.array([[2.0], [3.5]], np.float32)),
}


@pytest.mark.parametrize("task", METRICS)
def test_each_task_has_the_metrics_that_the_settings_name_in_their_order(task: str) -> None:
    scores = score(task, *CASES[task])
    assert tuple(scores) == METRICS[task]
    assert all(type(value) is float for value in scores.values())
    json.dumps(scores, allow_nan=False)


@pytest.mark.parametrize("task", METRICS)
def test_a_network_that_diverged_has_no_loss_and_no_nan(task: str) -> None:
    outputs, labels = CASES[task]
    scores = score(task, np.full_like(outputs, np.nan), labels)
    assert scores["loss"] is None
    json.dumps(scores, allow_nan=False)


def test_the_scores_of_a_classifier_are_those_of_classification_metrics() -> None:
    assert score("classification", *CASES["classification"]) == classification_metrics(*CASES["classification"])


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ConfigError, match=r"data\.task=ranking is no task") as caught:
        score("ranking", *CASES["classification"])
    assert "classification, multilabel, regression" in str(caught.value)
