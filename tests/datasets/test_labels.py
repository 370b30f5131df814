from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlstack.config import DataConfig
from mlstack.datasets import SPLITS, Dataset, load_dataset
from mlstack.datasets.build import dataset_from_arrays
from mlstack.datasets.derived import with_derived
from mlstack.datasets.labels import checked_labels
from mlstack.datasets.splits import fill_splits
from mlstack.errors import MLStackError

NAMES = ("a", "b")


def build(labels: Any, task: str, *, classes: tuple[str, ...] = NAMES, **options: Any) -> Dataset:
    labels = np.asarray(labels)
    parts = {part: (np.zeros((len(labels), 5, 5, 1), np.uint8), labels) for part in SPLITS}
    config = DataConfig(task=task, **options)
    return dataset_from_arrays(config, parts, name="own", classes=classes, task=task)


@pytest.mark.parametrize("dtype", [np.float64, np.int64, bool, np.uint8])
def test_several_labels_become_float32_whatever_they_were(dtype: type) -> None:
    labels = build(np.array([[0, 1], [1, 1], [0, 0]], dtype), "multilabel").splits["train"].labels
    assert labels.dtype == np.float32 and labels.tolist() == [[0, 1], [1, 1], [0, 0]]


def test_numbers_keep_their_units_and_their_mean_and_deviation_follow() -> None:
    dataset = build([[1, 100], [3, 300]], "regression")
    assert dataset.splits["val"].labels.tolist() == [[1, 100], [3, 300]]
    assert (dataset.target_mean, dataset.target_std) == ((2, 200), (1, 100))


def test_one_target_needs_no_second_axis() -> None:
    assert build([1.0, 2.0], "regression", classes=("price",)).splits["train"].labels.shape == (2, 1)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_a_target_that_never_changes_is_not_divided_by_zero(value: float) -> None:
    dataset = build(np.full((9, 2), value), "regression")
    assert dataset.target_std == (1, 1) and dataset.target_mean == pytest.approx((value, value))


def test_classes_have_no_mean() -> None:
    dataset = build([0, 1], "classification")
    assert dataset.target_mean is None and with_derived(DataConfig(), dataset).target_mean is None
    assert dataset.splits["train"].labels.dtype == np.int64


MISTAKES: dict[str, tuple[Any, str, list[str]]] = {
    "numbers for classes": ([0.0, 1.0], "classification", ["float64", "whole numbers"]),
    "vectors for classes": ([[0, 1], [1, 0]], "classification", ["[2, 2]", "one each"]),
    "a class that is not there": ([0, 2], "classification", ["labels from 0 to 2", "2 classes"]),
    "three labels of two": ([[0, 1, 1]], "multilabel", ["[1, 3]", "needs [1, 2]"]),
    "one axis of labels": ([0.0, 1.0], "multilabel", ["[2]", "needs [2, 2]"]),
    "half a label": ([[0, 1], [0, 0.5]], "multilabel", ["train/1", "0.5", "'b'", "0 or 1"]),
    "nan for a label": ([[0, np.nan]], "multilabel", ["nan", "0 or 1"]),
    "nan for a number": ([[0, 1], [np.nan, 1]], "regression", ["train/1", "nan", "'a'", "finite"]),
    "infinity": ([[0, np.inf]], "regression", ["inf", "finite"]),
    "beyond float32": ([[0, 1e39]], "regression", ["1e+39", "finite"]),
    "words": ([["x", "y"]], "regression", ["<U1", "needs numbers"]),
    "nothing": (np.zeros((0, 2)), "regression", ["no images"]),
    "an unknown task": ([[0, 1]], "ranking", ["ranking", "allowed: classification"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_labels_that_do_not_fit_their_task_end_in_one_message(mistake: str) -> None:
    labels, task, parts = MISTAKES[mistake]
    with pytest.raises(MLStackError) as caught:
        checked_labels("train", np.asarray(labels), NAMES, task=task)
    for part in parts:
        assert part in str(caught.value)


def test_as_many_labels_as_images_are_needed() -> None:
    parts = {part: (np.zeros((3, 5, 5, 1), np.uint8), np.array([0, 1])) for part in SPLITS}
    with pytest.raises(MLStackError, match="3 images and 2 labels"):
        dataset_from_arrays(DataConfig(), parts, name="own", classes=NAMES)


def test_what_is_held_out_of_other_labels_is_a_share_of_all() -> None:
    labels = np.linspace(0, 1, 100, dtype=np.float32)[:, None]
    parts = [
        fill_splits({"train": np.arange(100)}, labels, test_fraction=0.2, val_fraction=0.25, seed=seed)
        for seed in (0, 0, 1)
    ]
    assert [len(parts[0][part]) for part in SPLITS] == [60, 20, 20]
    assert sorted(np.concatenate(list(parts[0].values()))) == list(range(100))
    assert np.array_equal(parts[0]["test"], parts[1]["test"]) and not np.array_equal(parts[0]["test"], parts[2]["test"])


OWN = """
import numpy as np
from mlstack.datasets.build import dataset_from_arrays
def load(config):
    labels = np.array([[0, 1], [1, 0], [1, 1], [4, 0]]) if config.task == "regression" else np.eye(4, 2)
    parts = {part: (np.zeros((4, 5, 5, 1), np.uint8), labels) for part in ("train", "val", "test")}
    return dataset_from_arrays(config, parts, name="own", classes="ab", task=config.args.get("task", config.task))
def by_hand(config):
    import dataclasses
    dataset = load(config)
    return dataclasses.replace(dataset, target_mean=None, target_std=None)
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_labels", raising=False)
    Path("own_labels.py").write_text(OWN)


@pytest.mark.usefixtures("own_code")
@pytest.mark.parametrize("function", ["load", "by_hand"])
def test_a_set_of_your_own_may_be_a_regression(function: str) -> None:
    config = DataConfig(target=f"own_labels:{function}", task="regression", target_std=[2.0, 4.0], classes=["x", "y"])
    dataset = load_dataset(config)
    assert (dataset.task, dataset.classes) == ("regression", ("x", "y"))
    assert (dataset.target_mean, dataset.target_std) == ((1.5, 0.5), (2.0, 4.0))
    assert dataset.splits["test"].labels.dtype == np.float32


@pytest.mark.usefixtures("own_code")
def test_a_set_of_your_own_may_have_several_labels() -> None:
    dataset = load_dataset(DataConfig(target="own_labels:load", task="multilabel"))
    assert dataset.task == "multilabel" and dataset.splits["train"].labels.tolist()[:2] == [[1, 0], [0, 1]]


@pytest.mark.usefixtures("own_code")
@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"task": "regression", "args": {"task": "multilabel"}}, ["train/3", "4", "0 or 1"]),
        ({"task": "multilabel", "args": {"task": "regression"}}, ["data.task=multilabel", "returned task regression"]),
        ({"task": "regression", "class_shares": [0.5, 0.5]}, ["data.class_shares", "regression"]),
        ({"task": "regression", "target_mean": [1.0]}, ["data.target_mean has 1 values", "2 targets"]),
    ],
)
def test_a_set_of_your_own_has_to_fit_the_settings(options: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(MLStackError) as caught:
        load_dataset(DataConfig(target="own_labels:load", **options))
    for part in parts:
        assert part in str(caught.value)
