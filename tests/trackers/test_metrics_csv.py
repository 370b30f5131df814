from __future__ import annotations

from pathlib import Path

import pytest

from mlstack.config.trainer import METRICS
from mlstack.errors import OutputError
from mlstack.reports.metrics_file import read_metrics
from mlstack.trackers.metrics_csv import MetricsFile


@pytest.mark.parametrize("task", METRICS)
def test_the_columns_are_those_of_training_and_the_metrics_of_the_task(task: str, tmp_path: Path) -> None:
    MetricsFile(tmp_path / "metrics.csv", task=task).log_metrics({"epoch": 0}, step=3)
    header, row = (tmp_path / "metrics.csv").read_text().splitlines()
    assert header.startswith("epoch,step,learning_rate,train_loss,train_accuracy,images_per_second,cpu_seconds,val_")
    assert header.split(",")[7:] == [f"val_{metric}" for metric in METRICS[task]]
    assert row.startswith("0,3,,")


def test_unknown_columns_are_ignored(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", task="classification")
    file.log_metrics({"epoch": 0, "val_loss": 0.12345678, "unknown": 1.0}, step=3)
    header, row = (tmp_path / "metrics.csv").read_text().splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))["val_loss"] == "0.123457"


def test_a_run_that_goes_on_writes_no_second_header(tmp_path: Path) -> None:
    for step in (1, 2):
        MetricsFile(tmp_path / "metrics.csv", task="regression").log_metrics({"epoch": 0, "val_mae": 0.5}, step=step)
    assert read_metrics(tmp_path / "metrics.csv")["val_mae"].steps.tolist() == [1, 2]


def test_a_file_that_was_cut_back_to_nothing_gets_its_header_again(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").touch()
    MetricsFile(tmp_path / "metrics.csv", task="regression").log_metrics({"epoch": 0, "val_mae": 0.5}, step=1)
    assert len(read_metrics(tmp_path / "metrics.csv")["val_mae"]) == 1


def test_a_full_disk_is_one_message_that_says_how_to_go_on(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no device that is always full")
    (tmp_path / "metrics.csv").symlink_to(full)
    with pytest.raises(OutputError) as caught:
        MetricsFile(tmp_path / "metrics.csv", task="regression").log_metrics({"epoch": 0}, step=1)
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'metrics.csv'} can't be written: No space left on device",
        f"free some space, then type resume={tmp_path}",
    ]


def test_a_row_of_which_only_a_part_was_written_is_taken_back(tmp_path: Path) -> None:
    import resource

    file = MetricsFile(tmp_path / "metrics.csv", task="regression")
    file.log_metrics({"epoch": 0}, step=1)
    before = file.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 3, limits[1]))  # bytes that any file may have
    try:
        with pytest.raises(OutputError, match="can't be written"):
            file.log_metrics({"epoch": 1}, step=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.path.read_bytes() == before
