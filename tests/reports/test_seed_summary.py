from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlstack.reports.seed_summary import (
    ComparedRun,
    as_text,
    common_split,
    differing,
    group_by_seed,
    runs_table,
    seeds_table,
    with_deviation,
)

SETTINGS = {
    "model.name": "resnet18",
    "model.optimizer": "adamw",
    "data.name": "digits",
    "data.task": "classification",
    "data.mean": [0.5],
    "trainer.monitor": "val_accuracy",
    "seed": 0,
    "output_dir": "outputs",
}


def compared(
    name: str, accuracy: float = 0.9, *, splits: tuple[str, ...] = ("val", "test"), **changes: Any
) -> ComparedRun:
    scores = {"loss": 0.5, "accuracy": accuracy, "roc_auc": None}
    settings = {**SETTINGS, **{key.replace("__", "."): value for key, value in changes.items()}}
    speed = {"cpu_seconds": 30.0, "images_per_second": 1000.0}
    return ComparedRun(Path("outputs/digits_resnet18") / name, settings, dict.fromkeys(splits, scores), speed)


def test_only_settings_that_differ_are_told_the_seed_last() -> None:
    runs = [compared("a"), compared("b", seed=1, model__optimizer="muon", output_dir="elsewhere")]
    assert differing(runs) == ["model.optimizer", "seed"]
    assert differing(runs[:1]) == []


def test_what_follows_from_other_data_is_not_told_again() -> None:
    assert differing([compared("a"), compared("b", data__name="cifar10", data__mean=[0.4])]) == ["data.name"]
    assert differing([compared("a"), compared("b", data__mean=[0.4])]) == ["data.mean"]


def test_mean_and_sample_deviation_are_those_of_the_runs_that_differ_in_the_seed_alone() -> None:
    runs = [compared(str(seed), accuracy, seed=seed) for seed, accuracy in enumerate((0.8, 0.9, 1.0))]
    [three, one] = group_by_seed([*runs, compared("9", 0.5, model__optimizer="muon")])
    assert [run.seed for run in three.runs] == [0, 1, 2]
    assert three.mean("accuracy", "test") == pytest.approx(0.9)
    assert three.deviation("accuracy", "test") == pytest.approx(0.1)
    assert (three.mean("roc_auc", "test"), three.deviation("roc_auc", "test")) == (None, None)
    assert (one.mean("accuracy", "test"), one.deviation("accuracy", "test")) == (0.5, None)
    assert (three.label, one.label) == ("optimizer=adamw (3 seeds)", "optimizer=muon")


def test_of_two_runs_with_the_same_seed_the_newer_one_counts() -> None:
    [group] = group_by_seed([compared("2026-02-02"), compared("2026-01-01", 0.1)])
    assert [run.path.name for run in group.runs] == ["2026-02-02"]
    assert group.label == "digits_resnet18"


def test_labels_spell_out_names_that_end_alike() -> None:
    groups = group_by_seed([compared("a"), compared("b", model__name="tiny", data__name="cifar10")])
    assert groups[1].label == "model.name=tiny, data.name=cifar10"


def test_metrics_are_those_of_test_where_every_run_has_them() -> None:
    both, val = compared("a"), compared("b", splits=("val",))
    assert common_split([both, both]) == "test"
    assert common_split([both, val]) == "val"
    assert "val accuracy" in runs_table([both, val])


def test_the_monitored_metric_has_a_column_of_its_own() -> None:
    header = runs_table([compared("a", trainer__monitor="val_roc_auc")]).splitlines()[0]
    assert " ".join(header.split()) == "run test loss test accuracy test roc auc CPU seconds images/s"


def test_many_settings_are_named_below_the_table_and_the_seed_stays() -> None:
    others = {f"model__args__{letter}": 1 for letter in "abcdefgh"}
    text = runs_table([compared("a"), compared("b", seed=1, **others)])
    assert text.splitlines()[0].split()[1:7] == ["a", "b", "c", "d", "e", "seed"]
    assert text.splitlines()[-1] == "also different: model.args.f, model.args.g, model.args.h"


def test_runs_of_several_families_have_the_family_before_their_name() -> None:
    other = ComparedRun(Path("outputs/other/b"), SETTINGS, {}, {})
    assert [line.split()[0] for line in runs_table([compared("a"), other]).splitlines()[2:]] == [
        "digits_resnet18/a",
        "other/b",
    ]
    assert runs_table([compared("a")]).splitlines()[2].split()[0] == "a"


def test_the_table_over_seeds_has_one_line_a_combination() -> None:
    runs = [compared(str(seed), 0.8 + seed / 10, seed=seed) for seed in range(2)]
    lines = seeds_table(group_by_seed(runs)).splitlines()
    assert lines[0].split()[0] == "seeds"
    assert lines[2].split("  ")[-3:] == ["0.8500 ± 0.0707", "30.00 ± 0.00", "1000 ± 0"]
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("mean", "deviation", "text"),
    [
        (0.97204, 0.00312, "0.9720 ± 0.0031"),
        (1234.4, 56.0, "1234 ± 56"),
        (-12.345, 0.5, "-12.35 ± 0.50"),
        (123.45, None, "123.5"),
        (None, None, "–"),
    ],
)
def test_numbers_have_as_many_digits_as_say_something(mean: float | None, deviation: float | None, text: str) -> None:
    assert with_deviation(mean, deviation) == text


def test_settings_are_written_as_one_would_type_them() -> None:
    assert [as_text(value) for value in (None, True, 0.1, "adamw")] == ["null", "true", "0.1", "adamw"]
    assert len(as_text("x" * 100)) == 24
