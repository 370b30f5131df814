from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from mlstack.commands.train import complete, train
from mlstack.config import Config
from mlstack.config.trainer import ENGINES
from mlstack.datasets import load_dataset
from mlstack.engines import create_engine
from mlstack.errors import ConfigError, DataError, HardwareError, RunError
from mlstack.runs import RunFolder, find_run

pytestmark = pytest.mark.framework

Configure = Callable[..., Config]

# Where the engine makes no difference, the first one that is there is enough.
with_one_engine = pytest.mark.parametrize("engine", ENGINES[:1], indirect=True)


def folders(config: Config) -> list[RunFolder]:
    return [RunFolder(path) for path in Path(config.output_dir).glob(f"*_{config.trainer.engine}/*")]


@pytest.mark.figures
def test_a_finished_run_holds_what_the_design_promises(configure: Configure) -> None:
    config = configure(trainer__max_epochs=4, tracker="tensorboard")
    train(config)
    [run] = folders(config)
    assert {path.name for path in run.path.iterdir()} == {
        "config.yaml",
        "results.json",
        "checkpoints",
        "metrics.csv",
        "figures",
        "train.log",
        "tensorboard",
    }
    assert {"best.ckpt", "last.ckpt"} < {path.name for path in run.checkpoints.iterdir()}
    assert len(list(run.checkpoints.glob("epoch_*.ckpt"))) == 3
    names = {"learning_curves", "confusion_matrix", "class_scores", "sample_predictions", "worst_mistakes"}
    assert {path.stem for path in run.figures.glob("*.png")} >= names
    for name in names:
        with Image.open(run.figures / f"{name}.png") as image:
            assert min(image.size) > 200


def test_results_say_metrics_speed_memory_versions_hardware_and_data(trained: RunFolder) -> None:
    results = trained.read_results()
    assert {
        "status",
        "started_at",
        "finished_at",
        "command",
        "git",
        "versions",
        "hardware",
        "metrics",
        "epochs",
        "steps",
        "best_epoch",
        "best_score",
        "images_per_second",
        "train_seconds",
        "cpu_seconds",
        "cores_busy",
        "peak_memory_mb",
        "parameters",
        "device",
        "stopped_early",
        "seed",
        "data",
    } <= set(results)
    assert results["status"] == "finished"
    assert set(results["metrics"]) == {"val", "test"}
    assert results["data"]["images"] == {"train": 1458, "val": 160, "test": 179}
    assert len(results["data"]["fingerprint"]) == 64
    assert 0 < results["cores_busy"] < 64
    assert results["started_at"] < results["finished_at"]


def test_a_small_network_reads_digits_after_a_few_epochs(trained: RunFolder) -> None:
    assert trained.read_results()["metrics"]["test"]["accuracy"] > 0.9


def test_the_validation_metrics_are_those_of_the_best_epoch(trained: RunFolder) -> None:
    results = trained.read_results()
    with trained.metrics_path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val_accuracy"]]
    best = rows[results["best_epoch"]]
    assert results["metrics"]["val"]["accuracy"] == pytest.approx(float(best["val_accuracy"]), abs=1e-5)
    assert results["metrics"]["val"]["loss"] == pytest.approx(float(best["val_loss"]), abs=1e-4)
    assert float(best["val_accuracy"]) == max(float(row["val_accuracy"]) for row in rows)


def test_the_stored_settings_hold_what_was_derived(trained: RunFolder) -> None:
    data = trained.read_config().data
    assert (data.image_size, data.channels) == (8, 1)
    assert data.classes == [str(digit) for digit in range(10)]
    assert data.mean is not None and data.std is not None


def test_nothing_in_a_run_folder_names_a_place(trained: RunFolder) -> None:
    text = trained.config_path.read_text() + trained.results_path.read_text()
    assert str(trained.path) not in text


def test_the_log_says_what_came_out_and_what_to_type_next(trained: RunFolder) -> None:
    log = trained.log_path.read_text(encoding="utf-8")
    for words in (
        "data        digits",
        "test        accuracy 0.9",
        "images/s",
        "scripts/eval.py",
        "scripts/predict.py",
    ):
        assert words in log


@pytest.mark.figures
def test_a_rehearsal_works_to_the_end_without_becoming_latest(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configure(trainer__fast_dev_run=True, trainer__max_epochs=50)
    train(config)
    [run] = folders(config)
    assert run.read_results()["status"] == "fast_dev_run"
    assert run.read_results()["steps"] == 1
    assert (run.figures / "confusion_matrix.png").is_file()
    assert not run.checkpoints.exists()
    assert not (Path(config.output_dir) / "latest").exists()
    with pytest.raises(RunError, match="no finished run"):
        find_run("latest", output_dir=config.output_dir)
    assert "without trainer.fast_dev_run=true" in capsys.readouterr().out


def test_a_run_without_validation_and_test_still_ends_well(configure: Configure) -> None:
    config = configure(trainer__limit_val_batches=0, trainer__limit_test_batches=0)
    train(config)
    [run] = folders(config)
    assert run.read_results()["status"] == "finished"
    assert run.read_results()["metrics"] == {}


def test_a_mistake_before_the_first_step_leaves_no_run_folder(configure: Configure, engine: str) -> None:
    config = configure(model__target=f"tiny_networks_{engine}:two_scores")
    with pytest.raises(ConfigError, match="answers"):
        train(config)
    assert folders(config) == []


def test_pictures_that_cannot_be_read_leave_no_run_folder(configure: Configure) -> None:
    config = configure(data__target="few_digits:unreadable")
    with pytest.raises(DataError, match="stopped on purpose"):
        train(config)
    assert folders(config) == []


@with_one_engine
def test_a_device_that_is_not_there_is_refused_before_data_are_loaded(configure: Configure) -> None:
    config = configure(trainer__precision="16", data__target="no_such_module:load")
    with pytest.raises(HardwareError, match="needs a GPU"):
        train(config)
    assert not Path(config.output_dir).exists()


def test_an_interrupted_run_says_so_and_keeps_what_it_has(configure: Configure) -> None:
    config = configure(data__target="few_digits:interrupting", trainer__max_epochs=5)
    with pytest.raises(KeyboardInterrupt):
        train(config)
    [run] = folders(config)
    assert run.read_results()["status"] == "interrupted"
    assert run.checkpoint("last").is_file()
    with pytest.raises(RunError, match="no finished run"):
        find_run("latest", output_dir=config.output_dir)


def test_a_bug_is_recorded_and_passed_on(configure: Configure) -> None:
    config = configure(data__target="few_digits:crashing")
    with pytest.raises(RuntimeError, match="stopped on purpose"):
        train(config)
    [run] = folders(config)
    assert run.read_results()["status"] == "failed"
    assert "RuntimeError: stopped on purpose" in run.read_results()["error"]


def test_another_rank_trains_along_and_writes_nothing_of_its_own(
    configure: Configure,
    engine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fitted = []
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("MLSTACK_RUN_FOLDER", str(tmp_path / "announced"))
    monkeypatch.setattr(type(create_engine(engine)), "fit", lambda *given: fitted.append(given[3]))
    train(configure())
    assert fitted == [RunFolder(tmp_path / "announced")]
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_results_are_json_that_any_reader_takes(trained: RunFolder) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    results = json.loads(trained.results_path.read_text(), parse_constant=refuse)
    assert results["status"] == "finished"


@with_one_engine
@pytest.mark.parametrize(("pretrained", "channels", "mean"), [(True, 3, 0.485), (True, 1, None), (False, 3, None)])
def test_pretrained_colour_networks_see_imagenets_normalisation(
    pretrained: bool, channels: int, mean: float | None, configure: Configure
) -> None:
    config = configure(model__target=None, model__pretrained=pretrained, data__channels=channels)
    completed = complete(config, load_dataset(config.data))
    assert completed.data.mean is not None
    assert (completed.data.mean[0] == 0.485) == (mean == 0.485)


@with_one_engine
def test_a_normalisation_that_was_given_stays_with_pretrained_networks(configure: Configure) -> None:
    config = configure(model__pretrained=True, data__channels=3, data__mean=[0.5] * 3, data__std=[0.25] * 3)
    assert complete(config, load_dataset(config.data)).data.mean == [0.5] * 3


@with_one_engine
@pytest.mark.parametrize(("monitor", "mode"), [("val_loss", "min"), ("val_f1", "max")])
def test_the_mode_follows_from_the_monitored_metric(monitor: str, mode: str, configure: Configure) -> None:
    config = configure(trainer__monitor=monitor)
    assert complete(config, load_dataset(config.data)).trainer.mode == mode
