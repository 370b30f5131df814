"""metrics.csv: the log that every run has, whatever the tracker."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from mlstack.config.trainer import METRICS
from mlstack.errors import OutputError
from mlstack.trackers.base import Tracker

TRAINING_COLUMNS = (
    "epoch",
    "step",  # optimizer steps
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "images_per_second",
    "cpu_seconds",  # of the training process, since the run began
)


class MetricsFile(Tracker):
    """Rows of metrics.csv, flushed one by one. A cell is empty where a value doesn't belong to the row.

    Args:
        path: The file; it is made with the first row. One that has rows already is gone on with.
        task: `data.task`, which decides what is measured on the validation split.
    """

    def __init__(self, path: Path, *, task: str) -> None:
        self.path = path
        self.columns = (*TRAINING_COLUMNS, *(f"val_{metric}" for metric in METRICS[task]))

    def log_metrics(self, row: Mapping[str, float], step: int) -> None:
        """Append a row.

        Raises:
            OutputError: The file can't be written; what it held before is still whole.
        """
        size = self.path.stat().st_size if self.path.exists() else 0
        cells: dict[str, object] = {"step": step, **row}
        shown = {name: f"{cell:.6g}" if isinstance(cell, float) else cell for name, cell in cells.items()}
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
                if not size:
                    writer.writeheader()
                writer.writerow(shown)
        except OSError as error:
            self._take_back(size)
            raise OutputError(
                f"{self.path} can't be written: {error.strerror or error}",
                hint=f"free some space, then type resume={self.path.parent}",
            ) from error

    def _take_back(self, size: int) -> None:
        """Cut off what was written of a row before the disk was full."""
        if self.path.is_file():
            os.truncate(self.path, size)
