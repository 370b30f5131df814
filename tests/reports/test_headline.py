from __future__ import annotations

import pytest

from mlstack.config.trainer import METRICS
from mlstack.errors import ConfigError
from mlstack.reports.headline import SHOWN, headline
from mlstack.reports.numbers import short_number


def test_each_task_has_its_line() -> None:
    scores = {"accuracy": 0.98321, "loss": 0.0612, "f1": 0.9829, "roc_auc": 1.0}
    assert headline("classification", scores) == "accuracy 0.9832   loss 0.0612   f1 0.9829"
    scores = {"loss": 0.1, "f1": 0.75, "exact_match": 0.5}
    assert headline("multilabel", scores) == "f1 0.7500   loss 0.1000   exact match 0.5000"
    scores = {"loss": 0.044, "mae": 0.2, "rmse": 0.044**0.5, "r2": 0.9241}
    assert headline("regression", scores) == "mae 0.20   rmse 0.21   r2 0.92"


def test_errors_in_any_unit_stay_readable() -> None:
    scores = {"mae": 23474.4, "rmse": 0.000314, "r2": -2.5}
    assert headline("regression", scores) == "mae 23,474   rmse 0.00031   r2 -2.50"


@pytest.mark.parametrize("task", METRICS)
def test_a_network_that_diverged_has_dashes(task: str) -> None:
    assert headline(task, dict.fromkeys(METRICS[task])).count("–") == 3


@pytest.mark.parametrize("task", METRICS)
def test_a_line_shows_only_metrics_that_are_measured(task: str) -> None:
    assert set(SHOWN[task]) <= set(METRICS[task])


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ConfigError, match=r"data\.task=ranking"):
        headline("ranking", {})


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00"), (-34.2, "-34.20"), (999.999, "1000.00"), (-1234567.8, "-1,234,568"), (0.05, "0.05"), (3e-7, "3e-07")],
)
def test_numbers_of_any_size_are_short(value: float, text: str) -> None:
    assert short_number(value) == text


def test_nan_and_infinity_go_by_name() -> None:
    assert [short_number(value) for value in (float("nan"), float("-inf"))] == ["nan", "-inf"]
