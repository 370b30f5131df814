from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlstack.config import Config
from mlstack.errors import ConfigError
from mlstack.runs import RunFolder
from mlstack.trackers import build_trackers, close_trackers, finish_trackers

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that MLflow has made, with its tables: that takes seconds, a copy does not."""
    folder = tmp_path_factory.mktemp("store")
    config = Config(tracker="mlflow", output_dir=str(folder), tracker_args={"experiment": "another"})
    (folder / "run").mkdir()
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        close_trackers(build_trackers(config, RunFolder(folder / "run")))
    return folder / "mlflow.db"


@pytest.fixture
def start(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """`start("a")`: the trackers of a run folder `a`, below a folder whose name needs care in an address."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "my 运行 100%").mkdir()
    shutil.copy(empty_store, tmp_path / "my 运行 100%" / "mlflow.db")

    def start(name: str = "a", **settings: Any) -> tuple[RunFolder, list[Any]]:
        run = RunFolder(tmp_path / "my 运行 100%" / "digits_tiny" / name)
        run.path.mkdir(parents=True, exist_ok=True)
        if not run.results_path.exists():
            run.update_results(status="running", command="train.py", git={"commit": "c0ffee"})
        config = Config(**{"tracker": "mlflow", "output_dir": str(tmp_path / "my 运行 100%"), **settings})
        return run, build_trackers(config, run)

    return start


def test_a_run_has_its_settings_values_and_results_in_a_sqlite_store(start: Start, tmp_path: Path) -> None:
    run, trackers = start()
    for step in (1, 2):
        trackers[-1].log_metrics({"epoch": 0, "val_loss": 1 / step}, step)
    run.update_results(metrics={"test": {"accuracy": 0.75, "roc_auc": None}})
    run.checkpoints.mkdir()
    (run.checkpoints / "best.ckpt").write_bytes(b"weights")
    picture = run.path / "confusion_matrix.png"
    picture.write_bytes(b"picture")
    finish_trackers(trackers, run, images=[picture])

    client = trackers[-1].client
    stored = client.get_run(trackers[-1].run_id)
    assert stored.info.status == "FINISHED"
    assert stored.info.run_name == "digits_tiny/a"
    assert (stored.data.params["seed"], stored.data.params["model.learning_rate"]) == ("0", "0.001")
    assert stored.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert stored.data.metrics["final/test_accuracy"] == 0.75
    history = [(metric.step, metric.value) for metric in client.get_metric_history(stored.info.run_id, "val_loss")]
    assert history == [(1, 1.0), (2, 0.5)]
    folder = tmp_path / "my 运行 100%" / "mlflow_artifacts" / stored.info.run_id / "artifacts"
    assert (folder / "figures" / "confusion_matrix.png").read_bytes() == b"picture"
    assert (folder / "checkpoints" / "best.ckpt").read_bytes() == b"weights"
    assert (tmp_path / "my 运行 100%" / "mlflow.db").is_file()


def test_a_resumed_run_appears_once_and_goes_on(start: Start) -> None:
    run, first = start()
    first[-1].log_metrics({"val_loss": 1.0}, 1)
    close_trackers(first, status="interrupted")
    client = first[-1].client
    assert client.get_run(first[-1].run_id).info.status == "KILLED"

    _, second = start(seed=3)  # a setting may have changed: MLflow keeps the first value
    assert client.get_run(first[-1].run_id).info.status == "RUNNING"
    second[-1].log_metrics({"val_loss": 0.5}, 2)
    finish_trackers(second, run, images=[])
    assert second[-1].run_id == first[-1].run_id
    [only] = client.search_runs([client.get_run(first[-1].run_id).info.experiment_id])
    assert (only.info.status, only.data.params["seed"]) == ("FINISHED", "0")
    assert [metric.step for metric in client.get_metric_history(only.info.run_id, "val_loss")] == [1, 2]


def test_two_runs_of_one_process_stay_apart(start: Start) -> None:
    _, one = start("a")
    _, other = start("b")
    one[-1].log_metrics({"val_loss": 1.0}, 1)
    other[-1].log_metrics({"val_loss": 2.0}, 1)
    close_trackers(one, status="failed")
    client = one[-1].client
    assert client.get_run(one[-1].run_id).data.metrics == {"val_loss": 1.0}
    assert client.get_run(other[-1].run_id).data.metrics == {"val_loss": 2.0}
    assert client.get_run(one[-1].run_id).info.status == "FAILED"
    assert client.get_run(other[-1].run_id).info.status == "RUNNING"


def test_the_store_is_that_of_the_arguments_or_else_of_the_environment(
    start: Start, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("environment.db", "mine.db"):
        shutil.copy(empty_store, tmp_path / name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'environment.db'}")
    artifacts = (tmp_path / "artifacts").as_uri()
    _, first = start("a", tracker_args={"artifact_location": artifacts})
    arguments = {"tracking_uri": f"sqlite:///{tmp_path / 'mine.db'}", "artifact_location": artifacts}
    _, second = start("b", tracker_args={**arguments, "experiment": "mine"})
    assert first[-1].client.tracking_uri == f"sqlite:///{tmp_path / 'environment.db'}"
    assert second[-1].client.tracking_uri == f"sqlite:///{tmp_path / 'mine.db'}"
    assert [run.info.run_id for run in second[-1].client.search_runs(["2"])] == [second[-1].run_id]


@pytest.mark.parametrize("address", ["file:///tmp/mlruns", "nonsense://x"])
def test_a_store_that_cannot_be_used_is_one_message(address: str, start: Start) -> None:
    with pytest.raises(ConfigError, match=f"tracker=mlflow can't use {address}: ") as caught:
        start(tracker_args={"tracking_uri": address})
    assert len(str(caught.value).splitlines()) <= 3


def test_a_store_that_is_lost_in_mid_run_is_warned_of_once(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    _, trackers = start()
    trackers[-1].client.delete_run(trackers[-1].run_id)  # then it takes no values any more
    for step in range(3):
        trackers[-1].log_metrics({"val_loss": 1.0}, step)
    close_trackers(trackers)
    assert capsys.readouterr().out.count("warning: tracker=mlflow gets no more of this run") == 1


def test_a_run_that_the_store_no_longer_has_begins_anew(start: Start, empty_store: Path, tmp_path: Path) -> None:
    _, first = start()
    close_trackers(first)
    shutil.copy(empty_store, tmp_path / "other.db")
    _, second = start(tracker_args={"tracking_uri": f"sqlite:///{tmp_path / 'other.db'}"})
    assert second[-1].run_id != first[-1].run_id
