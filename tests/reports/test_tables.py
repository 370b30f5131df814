from __future__ import annotations

import numpy as np

from mlstack.metrics import per_class_metrics
from mlstack.reports.tables import class_table, metrics_table, runs_table, table
from mlstack.reports.text_width import display_width


def test_numbers_stand_to_the_right_and_texts_to_the_left() -> None:
    assert table(["name", "n"], [["cat", 5], ["tabby", 12345]]).splitlines() == [
        "name        n",
        "─────  ──────",
        "cat         5",
        "tabby  12,345",
    ]


def test_columns_stay_aligned_with_chinese_names() -> None:
    lines = table(["class", "n"], [["猫", 1], ["狗 dog", 2]]).splitlines()
    assert {display_width(line) for line in lines} == {len("狗 dog") + 1 + 3}


def test_a_table_without_rows_is_its_header() -> None:
    assert table(["class", "n"], []).splitlines()[0] == "class  n"


def test_shares_are_percentages_and_unknown_values_a_dash() -> None:
    lines = metrics_table({"accuracy": 0.97222, "val_f1": 0.5, "loss": 0.0812345, "roc_auc": None}).splitlines()
    assert [line.split()[-1] for line in lines[2:]] == ["97.22%", "50.00%", "0.08123", "–"]


def test_classes_are_listed_from_the_worst() -> None:
    rows = per_class_metrics(np.array([[9, 1], [4, 6]]))
    lines = class_table(["cat", "dog"], rows).splitlines()
    assert [line.split()[0] for line in lines[2:]] == ["dog", "cat"]
    assert lines[2].split() == ["dog", "85.7%", "60.0%", "70.6%", "10"]


def test_of_many_classes_the_worst_are_listed_and_the_rest_is_counted() -> None:
    rows = per_class_metrics(np.eye(50, dtype=np.int64))
    lines = class_table([f"class {index}" for index in range(50)], rows, limit=3).splitlines()
    assert len(lines) == 2 + 3 + 1
    assert lines[-1] == "… and 47 better classes"


def test_runs_with_different_metrics_share_one_table() -> None:
    text = runs_table({"digits_resnet18": {"accuracy": 0.5, "images_per_second": 12345.6}, "照片": {"loss": None}})
    lines = text.splitlines()
    assert lines[0].split("  ")[0] == "run"
    assert lines[2].split() == ["digits_resnet18", "50.00%", "12,346", "–"]
    assert lines[3].split() == ["照片", "–", "–", "–"]
