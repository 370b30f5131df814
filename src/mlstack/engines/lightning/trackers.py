"""Where metrics go: always metrics.csv, and the tracker that the settings name."""

from __future__ import annotations

import csv
import netrc
import os
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import Logger

from mlstack.config import Config
from mlstack.config.trainer import MONITORS
from mlstack.errors import ConfigError, MissingPackageError
from mlstack.runs import RunFolder

COLUMNS = ("epoch", "step", "learning_rate", "train_loss", "train_accuracy", "images_per_second", *MONITORS)


def build_trackers(config: Config, run: RunFolder) -> list[Logger]:
    """metrics.csv and, unless `tracker=none`, one more.

    Raises:
        ConfigError: The tracker refuses its arguments.
        MissingPackageError: Weights & Biases is not installed.
    """
    trackers: list[Logger] = [MetricsFile(run.metrics_path)]
    try:
        if config.tracker == "tensorboard":
            from pytorch_lightning.loggers import TensorBoardLogger

            arguments = {"name": "tensorboard", "version": "", **config.tracker_args}
            tracker = TensorBoardLogger(run.path, **arguments)
            _ = tracker.experiment  # made now: it is what refuses arguments
            trackers.append(tracker)
        elif config.tracker == "wandb":
            trackers.append(_wandb(config, run))
    except TypeError as error:
        raise ConfigError(
            f"tracker={config.tracker} refuses tracker_args={config.tracker_args}: {error}", key="tracker_args"
        ) from error
    return trackers


def _wandb(config: Config, run: RunFolder) -> Logger:
    try:
        import wandb
        from pytorch_lightning.loggers import WandbLogger
    except ModuleNotFoundError as error:
        raise MissingPackageError("wandb==0.31.0", needed_for="tracker=wandb") from error
    arguments = {"project": "mlstack", "name": f"{run.path.parent.name}/{run.path.name}", **config.tracker_args}
    offline = arguments.pop("offline", not _has_wandb_account())
    try:
        tracker = WandbLogger(save_dir=run.path, offline=offline, **arguments)
        _ = tracker.experiment
    except wandb.Error as error:
        raise ConfigError(
            f"tracker=wandb: {error}", key="tracker_args", hint="record it here: tracker_args.offline=true"
        ) from error
    return tracker


def close_trackers(trackers: Iterable[Logger]) -> None:
    """End what would stay open: the next run of this process would go on in this one's record."""
    for tracker in trackers:
        if type(tracker).__name__ == "WandbLogger":  # importing it would cost those who don't use it a second
            tracker.experiment.finish()  # type: ignore[attr-defined]


def _has_wandb_account() -> bool:
    """Without a key wandb would stop and ask for one; such a run is recorded offline, for `wandb sync` later."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_MODE") == "online":
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


class MetricsFile(Logger):
    """Rows of metrics.csv, flushed one by one. A cell is empty where a value doesn't belong to the row.

    Args:
        path: The file; it is made with the first row.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

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
        is_new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            if is_new:
                writer.writeheader()
            cells = {"step": step, **metrics}
            writer.writerow({name: f"{cell:.6g}" if isinstance(cell, float) else cell for name, cell in cells.items()})
