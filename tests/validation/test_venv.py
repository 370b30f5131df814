from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlstack.config.commands import ValidateConfig
from mlstack.config.compose import compose
from mlstack.config.data import AugmentConfig, DataConfig
from mlstack.config.root import Config
from mlstack.config.validation import VenvStageConfig
from mlstack.datasets import load_dataset
from mlstack.engines.position import Position
from mlstack.errors import ConfigError, HardwareError, MLStackError, TrainingError
from mlstack.runs import RunFolder
from mlstack.utils import hardware
from mlstack.validation import marked_training, repeated, synthetic, venv
from mlstack.validation.machine import Check
from mlstack.validation.training import Trained, train_watched

DRIVER = ("580.1", ["A"])


@pytest.mark.parametrize(
    ("driver", "settings", "dry_run"),
    [
        (DRIVER, {}, False),
        (DRIVER, {"allow_cpu": True}, False),
        (DRIVER, {"allow_cpu": True, "accelerator": "cpu"}, True),
        (None, {"allow_cpu": True}, True),
    ],
)
def test_a_dry_run_is_one_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, driver: tuple[str, list[str]] | None, settings: dict[str, Any], dry_run: bool
) -> None:
    monkeypatch.setattr(hardware, "gpu_driver", lambda: driver)
    assert venv.is_dry_run(ValidateConfig(stage="venv", **settings)) is dry_run


def test_without_a_gpu_the_stage_does_not_begin_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpu_driver", lambda: None)
    with pytest.raises(HardwareError, match="needs an NVIDIA GPU") as caught:
        venv.is_dry_run(ValidateConfig(stage="venv"))
    assert "allow_cpu=true" in caught.value.hint
    with pytest.raises(ConfigError, match="accelerator=cpu"):
        venv.is_dry_run(ValidateConfig(stage="venv", accelerator="cpu"))


def test_a_framework_that_does_not_see_the_gpu_ends_the_stage_with_its_remedy() -> None:
    check = Check("torch", "warn", "9.9, CPU build, cannot use this machine's GPU", "make setup DEVICE=gpu")
    with pytest.raises(HardwareError, match="cannot use this machine's GPU") as caught:
        venv.check_framework(ValidateConfig(), [check], dry_run=False)
    assert caught.value.hint == "make setup DEVICE=gpu"
    venv.check_framework(ValidateConfig(), [check], dry_run=True)
    venv.check_framework(ValidateConfig(engine="paddle"), [check], dry_run=False)


def test_the_words_of_the_training_follow_from_the_settings() -> None:
    config = ValidateConfig(data="cifar10", models=["small_cnn"], venv=VenvStageConfig(batch_size=128))
    words = ["model=small_cnn", "data=cifar10", "trainer.engine=lightning", "trainer.max_epochs=1"]
    assert venv.training_words(config) == [*words, "data.batch_size=128"]
    assert venv.training_words(ValidateConfig())[0] == "model=resnet18"


def test_digits_on_a_gpu_are_enlarged_unless_a_size_is_given() -> None:
    assert venv.training_words(ValidateConfig(), dry_run=False)[4:] == ["data.image_size=64", "data.batch_size=256"]
    chosen = ValidateConfig(venv=VenvStageConfig(image_size=32))
    assert venv.training_words(chosen, dry_run=False)[4:] == ["data.image_size=32", "data.batch_size=256"]


@pytest.mark.parametrize(
    ("epoch_seconds", "can_repeat", "times", "settings"),
    [
        (30.0, True, 1, ["trainer.max_epochs=2", "trainer.limit_train_batches=0.2500"]),
        (7.5, True, 1, ["trainer.max_epochs=2"]),
        (0.2, True, 38, ["trainer.max_epochs=2"]),
        (1e-9, True, 10_000, ["trainer.max_epochs=2"]),
        (30.0, False, 1, ["trainer.max_epochs=2", "trainer.limit_train_batches=0.2500"]),
        (4.0, False, 1, ["trainer.max_epochs=4"]),
        (0.001, False, 1, ["trainer.max_epochs=100"]),
    ],
)
def test_the_runs_that_measure_last_about_as_long_for_any_data(
    epoch_seconds: float, can_repeat: bool, times: int, settings: list[str]
) -> None:
    assert venv.length(epoch_seconds, can_repeat=can_repeat) == (times, settings)


def fake_training(seen: list[tuple[str, list[str]]], run: RunFolder, seconds: float) -> Callable[..., Trained]:
    """Stands in for `train_watched`: 1,437 pictures; the first epoch of a process takes 4 s more than the others."""

    def train(words: list[str], folder: Path, *, name: str, **_: Any) -> Trained:
        seen.append((name, words))
        spans = ((0.0, 4.0 + seconds), (10.0, 10.0 + seconds), (20.0, 20.0 + seconds))
        results = {
            "images_per_second": 1437 / (4.0 + seconds),
            "data": {"images": {"train": 1437, "val": 1, "test": 1}},
        }
        return Trained(run, results, 1.0, (), spans)

    return train


def test_on_a_gpu_a_warm_epoch_says_how_often_the_pictures_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    run.write_config(compose(Config, ["data=digits", "data.image_size=8", "data.channels=1", "data.classes=[a,b]"]))
    seen: list[tuple[str, list[str]]] = []
    train = fake_training(seen, run, 0.25)
    monkeypatch.setattr(venv, "train_watched", train)
    check = train([], tmp_path, name="one_epoch")
    real, made_up = venv._compare([], check, tmp_path, None, dry_run=False, script=tmp_path)
    assert [name for name, _ in seen] == ["one_epoch", "warm", "real_1", "synthetic_1", "real_2", "synthetic_2"]
    assert (len(real), len(made_up)) == (2, 2)
    words = dict(seen)
    assert "data.args={times:30}" in words["real_1"]  # 7.5 s of epochs that take 0.25
    assert any(f"train:{30 * 1437}" in word for word in words["synthetic_1"])


def test_a_repeated_set_has_the_same_pictures_several_times_in_its_training_split_alone() -> None:
    plain = load_dataset(compose(Config, ["data=digits"]).data)
    config = compose(Config, ["data=digits", *repeated.overrides(3)]).data
    longer = load_dataset(config)
    count = len(plain.splits["train"])
    train = longer.splits["train"]
    assert len(train) == len(train.images) == len(train.names) == 3 * count
    where = np.array([5, 5 + count, 5 + 2 * count])
    assert (train.images.read(where) == plain.splits["train"].images.read(np.array([5]))).all()
    assert set(train.labels[where]) == {plain.splits["train"].labels[5]}
    assert longer.splits["val"] is not None and len(longer.splits["val"]) == len(plain.splits["val"])
    assert (longer.name, longer.mean, longer.classes) == (plain.name, plain.mean, plain.classes)


def test_a_set_is_repeated_only_where_that_leaves_it_the_same() -> None:
    assert repeated.overrides(1) == []
    assert repeated.can_repeat(DataConfig(name="digits"))
    for other in (DataConfig(target="mine:load"), DataConfig(args={"model": "a"}), DataConfig(class_shares=[1.0, 0.5])):
        assert not repeated.can_repeat(other)
    with pytest.raises(ConfigError, match="times"):
        load_dataset(DataConfig(name="digits", target=repeated.TARGET, args={"times": 0}))


def synthetic_config(task: str = "classification") -> DataConfig:
    arguments = {"train": 100, "val": 20, "test": 10, "side": 8, "channels": 3, "answers": 4}
    return DataConfig(name="synthetic", target=synthetic.TARGET, args=arguments, task=task)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_synthetic_pictures_have_the_shape_that_was_asked_for(task: str) -> None:
    dataset = load_dataset(synthetic_config(task))
    train = dataset.splits["train"]
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 100, "val": 20, "test": 10}
    assert (dataset.image_size, dataset.channels, len(dataset.classes), len(train.labels)) == (8, 3, 4, 100)
    assert train.images.read(np.arange(64)).shape == (64, 8, 8, 3)
    assert train.names[99] == "train/99"


def test_a_batch_of_synthetic_pictures_can_be_changed_without_harm_to_the_next() -> None:
    images = load_dataset(synthetic_config()).splits["train"].images
    first = images.read(np.arange(16))
    kept = first.copy()
    first[:] = 0
    assert (images.read(np.arange(50, 66)) == kept).all()


@pytest.mark.parametrize("wrong", [{"train": 0}, {"side": None}, {"answers": "ten"}])
def test_a_synthetic_set_without_a_shape_is_refused(wrong: dict[str, Any]) -> None:
    config = synthetic_config()
    config.args.update(wrong)
    with pytest.raises(ConfigError, match=f"data.args.{next(iter(wrong))}"):
        load_dataset(config)


def test_the_synthetic_run_reads_as_many_pictures_and_changes_none_of_them() -> None:
    data = DataConfig(image_size=8, channels=1, classes=list("0123456789"))
    words = synthetic.overrides(data, {"train": 1458, "val": 160, "test": 179})
    config = compose(Config, ["data=digits", *words])
    assert config.data.augment == AugmentConfig()
    dataset = load_dataset(config.data)
    assert (len(dataset.splits["train"]), dataset.image_size, dataset.channels, len(dataset.classes)) == (
        1458,
        8,
        1,
        10,
    )


def test_the_marks_of_a_stopwatch_become_spans(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    watch = marked_training.with_marks(marks)()
    assert marked_training.read_spans(marks) == ()
    for _ in range(2):
        watch.start_epoch(Position())
        watch.count(8)
        watch.stop_epoch()
    watch.start_epoch(Position())  # was stopped before its end
    (first, second) = marked_training.read_spans(marks)
    assert first[0] <= first[1] <= second[0] <= second[1]


# Stands in for scripts/train.py: what it does is written in its first word.
SCRIPT = """
import json, pathlib, sys
kind, *words = sys.argv[1:]
if kind == "refused":
    sys.exit(print("error: cifar10 could not be fetched\\nthree ways out", file=sys.stderr) or 2)
if kind == "broken":
    raise ValueError("shapes differ")
if kind == "hangs":
    input() if sys.stdin.isatty() else __import__("threading").Event().wait()
output = dict(word.split("=", 1) for word in words)["output_dir"]
run = pathlib.Path(output, "family", "run")
run.mkdir(parents=True)
if kind != "empty":
    (run / "results.json").write_text(json.dumps({"started_by": sys.argv[0]}))
"""


def watched(folder: Path, kind: str, *, timeout: float = 60.0) -> Trained:
    script = folder / "train.py"
    script.write_text(SCRIPT)
    return train_watched([kind], folder, name="one", timeout=timeout, script=script)


def test_a_training_is_watched_to_its_end_and_its_results_are_read(tmp_path: Path) -> None:
    trained = watched(tmp_path, "fine")
    assert trained.results == {"started_by": str(tmp_path / "train.py")}
    assert trained.run == RunFolder(tmp_path / "one" / "family" / "run")
    assert trained.samples
    assert trained.spans == ()


def test_a_message_of_the_training_passes_through(tmp_path: Path) -> None:
    with pytest.raises(MLStackError, match=r"^cifar10 could not be fetched") as caught:
        watched(tmp_path, "refused")
    assert caught.value.hint == "three ways out"


@pytest.mark.parametrize(
    ("kind", "message"), [("broken", "failed: ValueError: shapes differ"), ("empty", "wrote no results.json")]
)
def test_a_training_that_fails_names_the_reason_and_its_log(tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        watched(tmp_path, kind)
    assert str(tmp_path / "one.log") in caught.value.hint


def test_a_training_that_does_not_end_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="has not ended within 1 s"):
        watched(tmp_path, "hangs", timeout=1.0)


def test_an_export_that_fails_is_a_finding_and_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "export.py"
    script.write_text("raise SystemExit('error: the network cannot be exported')")
    monkeypatch.setattr(venv, "EXPORT_SCRIPT", script)
    bundle, reason = venv.export_run(Trained(RunFolder(tmp_path), {}, 1.0, (), ()), tmp_path)
    assert (bundle, reason) == (None, "error: the network cannot be exported")
    assert (tmp_path / "export.log").is_file()


@pytest.mark.long  # a minute
def test_the_stage_trains_exports_and_asks_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one real run: 4 trainings of a small network and an export, in processes of their own."""
    monkeypatch.setattr(venv, "MEASURED_SECONDS", 0.2)
    limits = VenvStageConfig(min_data_efficiency=0, max_seconds=3600)
    config = ValidateConfig(stage="venv", profile="full", models=["small_cnn"], output_dir=str(tmp_path), venv=limits)
    stale = tmp_path / "validate" / "pictures" / "stale.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    report = venv.validate_venv(config, [Check("python", "ok", "3.11")], dry_run=True)
    assert {one.name: one.status for one in report.criteria if one.name != "whole stage"} == {
        "environment": "ok",
        "GPU utilization": "not_checked",
        "GPU memory": "not_checked",
        "one epoch": "ok",
        "checkpoint": "ok",
        "data efficiency": "ok",
        "bundle": "ok",
        "models that train": "ok",
    }
    folder = tmp_path / "validate"
    answers = json.loads((folder / "predictions.venv.json").read_text())
    assert sorted(answers) == sorted(path.name for path in (folder / "pictures").iterdir())
    assert len(answers) == 64
    for answer in answers.values():
        assert max(answer["probabilities"], key=answer["probabilities"].get) == answer["class"]
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    measured = report.measurements
    for name in ("images_per_second", "epoch_seconds", "training_seconds", "peak_memory_mb", "latency_ms", "accuracy"):
        assert measured[name] is not None, name
    assert report.dry_run
    assert report.predictions == "predictions.venv.json"
    assert (folder / "bundle" / "metadata.json").is_file()
    assert not list(folder.glob("real_*/"))
    if sys.platform == "linux":
        assert 0 < measured["cpu_share"] <= 1
        assert measured["peak_rss_mb"] > 50
