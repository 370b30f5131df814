from __future__ import annotations

import numpy as np

from mlstack.metrics import TargetScores, per_class_metrics
from mlstack.reports.tables import Cell, class_table, metrics_table, runs_table, table, target_table
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


def test_of_the_other_tasks_only_shares_are_percentages_too() -> None:
    scores = {"exact_match": 0.5, "calibration_error": 0.0123, "average_precision": 0.75, "mae": 0.2, "r2": 0.9241}
    lines = metrics_table(scores).splitlines()
    assert [line.split()[-1] for line in lines[2:]] == ["50.00%", "1.23%", "0.75", "0.2", "0.9241"]


def test_targets_are_listed_in_their_order_with_their_errors() -> None:
    lines = target_table(["price", "年龄"], [TargetScores(12345.6, 20000.0, 0.91234), TargetScores(None, None, None)])
    assert [line.split() for line in lines.splitlines()[2:]] == [
        ["price", "12,346", "20,000", "0.9123"],
        ["年龄", "–", "–", "–"],
    ]


def test_of_many_targets_the_first_are_listed_and_the_rest_is_counted() -> None:
    lines = target_table([f"t{index}" for index in range(50)], [TargetScores(1.0, 1.0, 0.0)] * 50, limit=3)
    assert [line.split()[0] for line in lines.splitlines()[2:]] == ["t0", "t1", "t2", "…"]
    assert lines.endswith("… and 47 more targets")


def test_labels_are_called_labels() -> None:
    lines = class_table(["a", "b"], per_class_metrics(np.eye(2, dtype=np.int64)), limit=1, kind="label").splitlines()
    assert lines[0].split()[0] == "label"
    assert lines[-1] == "… and 1 better labels"


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


def test_a_column_is_as_wide_as_its_widest_cell_or_its_header() -> None:
    assert table(["a", "metric", "n"], [["x", 1, "long text"], ["yz", 123456789, ""]]).splitlines() == [
        "a        metric  n",
        "──  ───────────  ─────────",
        "x             1  long text",
        "yz  123,456,789",
    ]


def test_a_column_of_numbers_with_gaps_stands_to_the_right() -> None:
    lines = table(["score", "share", "text"], [["", "5.0%", "1"], [10.5, None, "v1"]]).splitlines()
    assert lines[2:] == ["        5.0%  1", " 10.5      –  v1"]


def test_numbers_have_four_digits_and_from_a_thousand_on_no_decimals() -> None:
    cells: list[list[Cell]] = [[value] for value in (999.9, 999.44, 1000.0, -1000.4, -999.44, 0.000123456, 7, 1234)]
    lines = table(["n"], cells).splitlines()
    assert [line.strip() for line in lines[2:]] == [
        "999.9", "999.4", "1,000", "-1,000", "-999.4", "0.0001235", "7", "1,234",
    ]  # fmt: skip


def test_names_take_40_columns_at_most() -> None:
    fits, too_long = "x" * 40, "x" * 20 + "y" * 21
    scores = per_class_metrics(np.eye(2, dtype=np.int64))
    errors = [TargetScores(1.0, 1.0, 1.0)] * 2
    for text in (
        class_table([fits, too_long], scores),
        target_table([fits, too_long], errors),
        runs_table({fits: {"loss": 1.0}, too_long: {"loss": 1.0}}),
    ):
        first, second = (line.split()[0] for line in text.splitlines()[2:])
        assert first == fits
        assert second == "x" * 20 + "…" + "y" * 19


def test_thirty_classes_or_targets_are_listed_and_one_more_is_counted() -> None:
    for count, more in ((30, []), (31, ["… and 1 better classes"])):
        scores = per_class_metrics(np.eye(count, dtype=np.int64))
        assert class_table(["c"] * count, scores).splitlines()[32:] == more
    for count, more in ((30, []), (31, ["… and 1 more targets"])):
        assert target_table(["t"] * count, [TargetScores(1.0, 1.0, 1.0)] * count).splitlines()[32:] == more
