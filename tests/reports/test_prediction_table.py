from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from mlstack.reports.prediction_table import as_csv, as_json, prediction_rows, printed

PATHS = [Path("photos/a.jpg"), Path("photos/b.jpg")]
NAMES = ["cat", "dog", "big, wet dog"]
PROBABILITIES = np.array([[0.9, 0.75, 0.125], [0.25, 0.375, 0.25]], np.float32)


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_classifier_lists_the_likeliest_classes() -> None:
    rows = prediction_rows("classification", PATHS, PROBABILITIES, NAMES, k=2)
    assert rows[1] == {
        "file": "photos/b.jpg",
        "class": "dog",
        "index": 1,
        "confidence": 0.375,
        "probabilities": {"dog": 0.375, "cat": 0.25},
    }
    table = rows_of(as_csv("classification", rows))
    assert list(table[0]) == ["file", "class", "confidence", "class_2", "confidence_2"]
    assert table[1]["confidence_2"] == "0.250000"
    assert printed("classification", rows).splitlines()[1] == " 37.5%  dog  photos/b.jpg"


def test_several_labels_are_joined_and_each_has_its_probability() -> None:
    rows = prediction_rows("multilabel", PATHS, PROBABILITIES, NAMES, k=1)
    assert [row["labels"] for row in rows] == [["cat", "dog"], []]
    table = rows_of(as_csv("multilabel", rows))
    assert list(table[0]) == ["file", "labels", "cat", "dog", "big, wet dog"]
    assert [row["labels"] for row in table] == ["cat|dog", ""]
    assert table[0]["big, wet dog"] == "0.125000"
    assert printed("multilabel", rows).splitlines() == ["cat|dog  photos/a.jpg", "(none)  photos/b.jpg"]


def test_numbers_have_a_column_a_target() -> None:
    values = np.array([[2.3, -123456.5], [1e-5, 0.0]], np.float32)
    rows = prediction_rows("regression", PATHS, values, ["price", "weight in grams"], k=5)
    assert rows[0]["values"] == {"price": pytest.approx(2.3), "weight in grams": -123456.5}
    table = rows_of(as_csv("regression", rows))
    assert list(table[0]) == ["file", "price", "weight in grams"]
    assert [row["price"] for row in table] == ["2.3", "1e-05"]
    assert table[0]["weight in grams"] == "-123456.5"
    assert printed("regression", rows).splitlines()[0].split("  ")[0] == "price"
    assert "-123,456" in printed("regression", rows)


def test_a_float32_number_comes_back_from_the_csv_as_it_was() -> None:
    values = np.random.default_rng(0).normal(size=(50, 1)).astype(np.float32) * 1000
    rows = prediction_rows("regression", [Path("a")] * 50, values, ["price"], k=1)
    back = np.array([row["price"] for row in rows_of(as_csv("regression", rows))], np.float32)
    assert np.allclose(back, values[:, 0], rtol=1e-6)


def test_of_many_targets_the_terminal_shows_six() -> None:
    rows = prediction_rows("regression", PATHS, np.ones((2, 9)), [f"t{index}" for index in range(9)], k=1)
    assert printed("regression", rows).splitlines()[0].split() == ["t0", "t1", "t2", "t3", "t4", "t5", "file"]


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_the_json_keeps_names_in_any_script(task: str) -> None:
    rows = prediction_rows(task, PATHS, PROBABILITIES, ["猫", "狗", "x"], k=3)
    text = as_json(rows)
    assert "猫" in text
    assert json.loads(text) == rows
