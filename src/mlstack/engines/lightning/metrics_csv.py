"""metrics.csv: the log that every run has, whatever the tracker."""

from __future__ import annotations

import csv
import os
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import Logger

from mlstack.config.trainer import METRICS
from mlstack.errors import OutputError

TRAINING_COLUMNS = (
    "epoch",
    "step",  # optimizer steps
    "learning_rate",
    "train_loss",
    "train_accuracy",
    "images_per_second",
    "cpu_seconds",  # of the training process, since the run began
)


class MetricsFile(Logger):
    """Rows of metrics.csv, flushed one by one. A cell is empty where a value doesn't belong to the row.

    Args:
        path: The file; it is made with the first row. One that has rows already is gone on with.
        task: `data.task`, which decides what is measured on the validation split.
    """

    def __init__(self, path: Path, *, task: str) -> None:
        super().__init__()
        self.path = path
        self.columns = (*TRAINING_COLUMNS, *(f"val_{metric}" for metric in METRICS[task]))

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the settings stand in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a row.

        Raises:
            OutputError: The file can't be written; what it held before is still whole.
        """
        size = self.path.stat().st_size if self.path.exists() else 0
        cells = {"step": step, **metrics}
        row = {name: f"{cell:.6g}" if isinstance(cell, float) else cell for name, cell in cells.items()}
        try:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
                if not size:
                    writer.writeheader()
                writer.writerow(row)
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
