from __future__ import annotations

import re
from typing import Any

import numpy as np
import orjson
import pytest

from mlstack.serving.answers import confidence, json_response, now, predictions, winners

NAMES = ("a", "b", "c", "d")


def rows(*values: list[float]) -> np.ndarray:
    return np.array(values, np.float32)


def names(count: int) -> list[str]:
    return [f"c{number}" for number in range(count)]


def test_classes_come_most_probable_first_and_as_many_as_asked_for() -> None:
    [one, two] = predictions("classification", rows([0.1, 0.5, 0.25, 0.15], [0.7, 0.1, 0.1, 0.1]), NAMES, 3)
    assert (one["class"], one["index"], one["confidence"]) == ("b", 1, 0.5)
    assert list(one["probabilities"].items()) == [("b", 0.5), ("c", 0.25), ("d", pytest.approx(0.15))]
    assert list(two["probabilities"]) == ["a", "b", "c"]


@pytest.mark.parametrize("top_k", [4, 5, 999_999])
def test_more_than_there_are_is_all_of_them(top_k: int) -> None:
    [one] = predictions("classification", rows([0.1, 0.5, 0.25, 0.15]), NAMES, top_k)
    assert list(one["probabilities"]) == ["b", "c", "d", "a"]


@pytest.mark.parametrize("top_k", [1, 5, 124, 125, 1000])
def test_of_a_thousand_classes_the_right_ones_are_listed_in_order(top_k: int) -> None:
    output = np.random.default_rng(0).dirichlet(np.full(1000, 0.1), 8).astype(np.float32)
    for row, one in zip(output, predictions("classification", output, names(1000), top_k), strict=True):
        expected = np.argsort(-row, kind="stable")[:top_k]
        assert list(one["probabilities"]) == [f"c{place}" for place in expected]
        assert list(one["probabilities"].values()) == row[expected].tolist()
        assert one["index"] == row.argmax()


@pytest.mark.parametrize("classes", [10, 1000])
def test_of_equal_classes_the_first_wins_as_in_the_count_of_right_answers(classes: int) -> None:
    output = np.full((2, classes), 1 / classes, np.float32)
    output[1, [3, 7]] = 0.4
    told = predictions("classification", output, names(classes), 5)
    assert [one["index"] for one in told] == [0, 3] == list(winners("classification", output))
    assert list(told[0]["probabilities"]) == names(5)
    assert list(told[1]["probabilities"]) == ["c3", "c7", "c0", "c1", "c2"]


def test_labels_are_those_from_one_half_on() -> None:
    [one] = predictions("multilabel", rows([0.9, 0.5, 0.2, 0.6]), NAMES, 2)
    assert one["labels"] == ["a", "b", "d"]
    assert one["confidence"] == pytest.approx((0.9 + 0.5 + 0.8 + 0.6) / 4)
    assert list(one["probabilities"]) == ["a", "d"]
    assert confidence("multilabel", rows([0.9, 0.5, 0.2, 0.6])) == pytest.approx(one["confidence"])


def test_a_regression_tells_every_value_and_no_confidence() -> None:
    assert predictions("regression", rows([1.5, -2.0]), ("width", "height"), 1) == [
        {"values": {"width": 1.5, "height": -2.0}}
    ]
    assert confidence("regression", rows([1.5, -2.0])) is None
    assert winners("regression", rows([1.5, -2.0])) == ()


def body(task: str, *values: list[float]) -> Any:
    output = rows(*values)
    return orjson.loads(json_response(predictions(task, output, names(output.shape[1]), 3)).body)


def test_what_is_no_number_is_null_and_never_the_best() -> None:
    assert body("regression", [np.nan, np.inf, 1.0]) == [{"values": {"c0": None, "c1": None, "c2": 1.0}}]
    [one] = body("classification", [np.nan, 0.25, 0.5])
    assert (one["class"], list(one["probabilities"])) == ("c2", ["c2", "c1", "c0"])
    many = [np.nan] * 990 + [0.25] * 10
    [one] = body("classification", many)
    assert (one["class"], one["confidence"]) == ("c990", 0.25)
    [one] = body("classification", [np.nan] * 1000)
    assert one["confidence"] is None


def test_one_answer_without_a_number_does_not_spoil_what_is_counted() -> None:
    assert confidence("classification", rows([np.nan, 0.5])) is None
    assert confidence("multilabel", rows([np.nan, 0.5])) is None
    assert confidence("classification", rows([0.25, 0.75], [0.5, 0.5])) == pytest.approx(0.625)


def test_the_time_is_utc_with_milliseconds() -> None:
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", now())
