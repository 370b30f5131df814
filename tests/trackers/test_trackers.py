from __future__ import annotations

import dataclasses
import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mlstack.config import Config
from mlstack.errors import ConfigError, MissingPackageError, OutputError
from mlstack.runs import RunFolder
from mlstack.trackers import build_trackers, close_trackers, finish_trackers, log_histograms

TRACKERS = ("tensorboard", "wandb", "mlflow")
Start = Callable[..., Any]


@pytest.fixture(autouse=True)
def _nobody_is_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No account and no server of the person who runs the tests; what a tracker keeps at home goes elsewhere."""
    for variable in ("WANDB_MODE", "WANDB_API_KEY", "NETRC", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run folder as it is when training begins."""
    run = RunFolder(tmp_path / "outputs" / "digits_tiny_lightning" / "2026-01-31_12-00-00_a1b2")
    run.path.mkdir(parents=True)
    run.update_results(status="running", command="train.py", git={"commit": "c0ffee"}, hardware={"cores": 2})
    return run


@pytest.fixture
def start(run: RunFolder) -> Start:
    """`start("mlflow", resumed_step=3)`: all trackers of the run and, named on its own, the one that is asked for."""

    def start(tracker: str, *, resumed_step: int | None = None, **settings: Any) -> tuple[list[Any], Any]:
        config = Config(tracker=tracker, seed=7, output_dir=str(run.path.parent.parent))
        trackers = build_trackers(dataclasses.replace(config, **settings), run, resumed_step=resumed_step)
        return trackers, trackers[-1]

    return start


def leave_results(run: RunFolder) -> list[Path]:
    """What a finished run has: numbers, a checkpoint, figures. Returns the figures, and one that was not drawn."""
    run.update_results(metrics={"test": {"accuracy": 0.75, "roc_auc": None}}, cpu_seconds=12.5)
    run.checkpoints.mkdir()
    (run.checkpoints / "best.ckpt").write_bytes(b"weights")
    run.figures.mkdir()
    Image.new("RGB", (8, 6), "red").save(run.figures / "confusion_matrix.png")
    return [run.figures / "confusion_matrix.png", run.figures / "sample_predictions.png"]


def events(run: RunFolder) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run.path / "tensorboard")).Reload()


def wandb_records(run: RunFolder, *, ends: int = 1) -> list[Any]:
    """Everything that was written offline, in order, by runs of which so many have ended.

    Weights & Biases writes in a process of its own, which may be behind for a while after `finish`.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    deadline = time.monotonic() + 30
    while True:
        files = sorted((run.path / "wandb").glob("offline-run-*/run-*.wandb"))
        records = [Record.FromString(data) for path in files for data in leveldb_log(path.read_bytes()[7:])]
        if sum(record.HasField("exit") for record in records) >= ends:
            return records
        assert time.monotonic() < deadline, "Weights & Biases does not write the end of the run"
        time.sleep(0.02)


def leveldb_log(content: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format (https://github.com/google/leveldb/blob/main/doc/log_format.md).

    Parts with a header of 7 bytes (checksum, length, type: whole, first, middle, last) in blocks of 32 KiB, of which
    the first one is 7 bytes shorter here: Weights & Biases puts a header of its own before it.
    """
    place, data = 0, b""
    while place + 7 <= len(content):
        left = 32768 - (place + 7) % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        if place + 7 + length > len(content):  # not all of it is written yet
            return
        data += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield data
            data = b""


def wandb_items(run: RunFolder, kind: str) -> dict[str, Any]:
    """The last value of each name in the config, the history or the summary."""
    items: dict[str, Any] = {}
    for record in wandb_records(run):
        updates = list(record.history.item) if kind == "history" else list(getattr(record, kind).update)
        if kind == "config":
            updates += list(record.run.config.update)
        items.update({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in updates})
    return items


def test_without_a_tracker_there_is_metrics_csv_alone(start: Start, run: RunFolder) -> None:
    trackers, _ = start("none")
    trackers[0].log_metrics({"epoch": 0}, 1)
    finish_trackers(trackers, run, images=[])
    assert {path.name for path in run.path.iterdir()} == {"metrics.csv", "results.json"}


def test_tensorboard_shows_what_a_run_was_made_with_and_what_came_out(start: Start, run: RunFolder) -> None:
    trackers, _ = start("tensorboard")
    finish_trackers(trackers, run, images=leave_results(run))
    seen = events(run)
    assert b"seed: 7" in seen.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]
    assert b"git.commit: c0ffee" in seen.Tensors("provenance/text_summary")[0].tensor_proto.string_val[0]
    assert seen.Scalars("final/test_accuracy")[0].value == 0.75
    [image] = seen.Images("figures/confusion_matrix")
    assert (image.width, image.height) == (8, 6)
    assert seen.Tags()["images"] == ["figures/confusion_matrix"]
    assert [path.name.split(".")[0] for path in (run.path / "tensorboard").iterdir()] == ["events"]


def test_tensorboard_can_compare_runs_by_their_settings(start: Start, run: RunFolder) -> None:
    from tensorboard.plugins.hparams import metadata

    trackers, _ = start("tensorboard")
    finish_trackers(trackers, run, images=leave_results(run))
    seen = events(run)
    content = {tag: seen.SummaryMetadata(tag).plugin_data.content for tag in seen.PluginTagToContent("hparams")}
    settings = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG]).hparams
    assert (settings["seed"].number_value, settings["tracker_histograms"].bool_value) == (7, False)
    assert (settings["tracker"].string_value, settings["resume"].string_value) == ("tensorboard", "None")
    page = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    assert {metric.name.tag for metric in page.metric_infos} == {"final/test_accuracy", "final/cpu_seconds"}
    assert {info.name for info in page.hparam_infos} == set(settings)


def test_tensorboard_on_a_full_disk_is_one_message_and_not_a_wait(start: Start, run: RunFolder) -> None:
    import resource

    trackers, tracker = start("tensorboard")

    def log_much() -> None:
        for step in range(1000):
            tracker.log_metrics({"val_loss": 1.0}, step)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))  # bytes that any file may have
    try:
        with pytest.raises(OutputError, match="tensorboard can't be written: File too large"):
            log_much()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    close_trackers(trackers, status="failed")
    with pytest.raises(OutputError, match="can't be written"):
        tracker.log_metrics({"val_loss": 1.0}, 1000)


def test_tensorboard_is_written_without_a_training_framework(tmp_path: Path) -> None:
    """In a fresh interpreter, since this one may hold torch for another test's sake."""
    program = f"""
import sys
from pathlib import Path
from mlstack.config import Config
from mlstack.runs import RunFolder
from mlstack.trackers import build_trackers, finish_trackers
run = RunFolder(Path({str(tmp_path)!r}))
trackers = build_trackers(Config(), run)
trackers[-1].log_metrics({{"val_loss": 1.0}}, 1)
finish_trackers(trackers, run, images=[])
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert loaded & {"torch", "pytorch_lightning", "lightning_utilities", "paddle", "tensorflow"} == set()
    assert "tensorboard" in loaded
    assert done.stderr == ""


def test_tensorboard_forgets_what_a_resumed_run_logs_again(start: Start, run: RunFolder) -> None:
    for resumed_step, steps in ((None, (1, 2, 3, 4)), (2, (3, 4, 5))):
        trackers, tracker = start("tensorboard", resumed_step=resumed_step)
        for step in steps:
            tracker.log_metrics({"val_loss": 1.0 if resumed_step is None else 2.0}, step)
        close_trackers(trackers)
    seen = [(event.step, event.value) for event in events(run).Scalars("val_loss")]
    assert seen == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]


def test_wandb_records_offline_where_there_is_no_account(start: Start, run: RunFolder) -> None:
    trackers, tracker = start("wandb")
    tracker.log_metrics({"val_loss": 0.5}, 3)
    finish_trackers(trackers, run, images=leave_results(run))
    config, history = wandb_items(run, "config"), wandb_items(run, "history")
    assert (config["seed"], config["model.learning_rate"], config["git.commit"]) == (7, 0.001, "c0ffee")
    assert (history["val_loss"], history["trainer/global_step"]) == (0.5, 3)
    assert history["figures/confusion_matrix/width"] == 8
    assert wandb_items(run, "summary")["final/test_accuracy"] == 0.75
    [artifact] = [one.artifact for one in wandb_records(run) if one.HasField("artifact")]
    assert artifact.type == "model"


def test_wandb_keeps_the_id_of_a_run_that_is_resumed(start: Start, run: RunFolder) -> None:
    for resumed_step in (None, 2):
        trackers, tracker = start("wandb", resumed_step=resumed_step)
        tracker.log_metrics({"val_loss": 1.0}, 1)
        close_trackers(trackers, status="interrupted")
    records = wandb_records(run, ends=2)
    ids = {record.run.run_id for record in records if record.HasField("run")}
    assert ids == {"digits_tiny_lightning-2026-01-31_12-00-00_a1b2"}
    exits = [record.exit.exit_code for record in records if record.HasField("exit")]
    assert exits == [255, 255]


def test_wandb_leaves_no_setting_behind_for_later_runs(start: Start) -> None:
    import os

    import wandb

    trackers, _ = start("wandb")
    close_trackers(trackers)
    close_trackers(trackers)
    assert wandb.run is None
    assert "WANDB_MODE" not in os.environ


def test_an_account_is_found_in_the_environment_or_in_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlstack.trackers.wandb_tracker import has_account

    monkeypatch.setenv("HOME", str(tmp_path))
    assert not has_account()
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert has_account()
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert has_account()


@pytest.mark.parametrize(("tracker", "module"), [("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_tracker_whose_package_is_missing_says_what_to_install(
    tracker: str, module: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"mlstack.trackers.{tracker}_tracker", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=f"tracker={tracker} needs the package {module}"):
        start(tracker)


@pytest.mark.parametrize("tracker", TRACKERS)
def test_arguments_that_a_tracker_refuses_are_one_message(tracker: str, start: Start) -> None:
    with pytest.raises(ConfigError, match=f"tracker={tracker} refuses tracker_args="):
        start(tracker, tracker_args={"no_such_argument": 1})


def test_histograms_of_the_weights_reach_tensorboard_and_wandb(start: Start, run: RunFolder) -> None:
    weight, bias = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), np.full(2, np.nan, np.float32)
    for name in ("tensorboard", "wandb"):
        trackers, _ = start(name, tracker_histograms=True)
        log_histograms(trackers, [("weight", weight), ("bias", bias)], step=5)
        close_trackers(trackers)
    [event] = events(run).Histograms("weights/weight")
    assert (event.step, event.histogram_value.num) == (5, 6)
    assert events(run).Tags()["histograms"] == ["weights/weight"]
    shown = wandb_items(run, "history")["weights/weight/values"]
    assert sum(shown) == 6


def test_only_the_first_rank_has_trackers(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    for name in TRACKERS:
        assert build_trackers(Config(tracker=name), run) == []
        finish_trackers([], run, images=[])
    assert {path.name for path in run.path.iterdir()} == {"results.json"}


@pytest.mark.parametrize("name", TRACKERS)
def test_what_a_tracker_cannot_take_costs_one_line_and_not_the_run(
    name: str, start: Start, run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    trackers, _ = start(name)
    broken = run.path / "broken.png"
    broken.write_bytes(b"no picture")
    if name == "mlflow":  # takes any file, but not where it can't put it
        (run.path.parent.parent / "mlflow_artifacts").write_text("a file where a folder is wanted")
    finish_trackers(trackers, run, images=[broken])
    assert capsys.readouterr().out.count("warning: the tracker was not sent all results: ") == 1
