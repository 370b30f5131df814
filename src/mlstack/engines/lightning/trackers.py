"""Where metrics go: always metrics.csv, and the tracker that the settings name.

trackers = build_trackers(config, run)                       # before training
finish_trackers(trackers, run, images=[…])                   # when the run's results and figures are there
close_trackers(trackers, status="failed")                    # instead, when training did not get to its end
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import Logger

from mlstack.config import Config
from mlstack.config.flat_settings import flat_settings, flatten
from mlstack.engines.lightning.metrics_csv import MetricsFile
from mlstack.errors import ConfigError, MissingPackageError, RunError
from mlstack.runs import RunFolder, write_text
from mlstack.utils.console import say

MLFLOW_PINS = ("mlflow-skinny==3.17.2", "sqlalchemy==2.0.58", "alembic==1.20.1")
PROVENANCE = ("command", "git", "versions", "hardware")  # in results.json, from the run's start
# In results.json at a run's end, besides its metrics.
FINAL_FACTS = ("images_per_second", "train_seconds", "cpu_seconds", "peak_memory_mb", "parameters")


@runtime_checkable
class Tracker(Protocol):
    """What a tracker can do besides logging metrics.

    Attributes:
        errors: What it raises when its disk or its server fails.
    """

    errors: ClassVar[tuple[type[Exception], ...]]

    def record_start(self, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Record all settings, and code, versions and hardware: dotted names with plain values."""

    def record_end(self, scores: Mapping[str, float], images: Sequence[Path], checkpoint: Path | None) -> None:
        """Record what came out: final numbers, PNGs, the best checkpoint."""

    def close(self, status: str) -> None:
        """End the record: `finished`, `fast_dev_run`, `interrupted` or `failed`. A second time does nothing."""


def build_trackers(config: Config, run: RunFolder, *, resumed_step: int | None = None) -> list[Logger]:
    """metrics.csv and, unless `tracker=none`, one more; on ranks that don't write, metrics.csv alone.

    Args:
        config: All settings.
        run: The run folder; its results.json says what the run is made with.
        resumed_step: Optimizer steps of the checkpoint that the run goes on from; None for a run from the start.

    Raises:
        ConfigError: The tracker refuses its arguments.
        MissingPackageError: Its package is not installed.
    """
    trackers: list[Logger] = [MetricsFile(run.metrics_path, task=config.data.task)]
    if config.tracker == "none" or rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return trackers
    try:
        tracker = _start(config, run, resumed_step)
    except TypeError as error:
        raise ConfigError(
            f"tracker={config.tracker} refuses tracker_args={config.tracker_args}: {error}", key="tracker_args"
        ) from error
    assert isinstance(tracker, Tracker)
    results = run.read_results() if run.results_path.exists() else {}
    facts = {name: results[name] for name in PROVENANCE if name in results}
    try:
        tracker.record_start(flat_settings(config), flatten(facts))
    except tracker.errors as error:
        _warn("was not sent the settings", error)
    return [*trackers, tracker]


def _start(config: Config, run: RunFolder, resumed_step: int | None) -> Logger:
    name = f"{run.path.absolute().parent.name}/{run.path.absolute().name}"
    if config.tracker == "tensorboard":
        return _tensorboard(config, run, resumed_step)
    if config.tracker == "wandb":
        return _wandb(config, run, name)
    return _mlflow(config, run, name)


def _tensorboard(config: Config, run: RunFolder, resumed_step: int | None) -> Logger:
    from mlstack.engines.lightning.tensorboard_tracker import TensorBoard

    # What was logged after the checkpoint is logged again; TensorBoard forgets events from this step on.
    purge = {} if resumed_step is None else {"purge_step": resumed_step + 1}
    arguments = {"name": "tensorboard", "version": "", "default_hp_metric": False, **purge, **config.tracker_args}
    tracker = TensorBoard(run.path, **arguments)
    _ = tracker.experiment  # made now: it is what refuses arguments
    return tracker


def _wandb(config: Config, run: RunFolder, name: str) -> Logger:
    try:
        from mlstack.engines.lightning.wandb_tracker import start_wandb
    except ModuleNotFoundError as error:
        raise MissingPackageError("wandb==0.31.0", needed_for="tracker=wandb") from error
    # Weights & Biases takes any id; the run folder's name is the only one in the world, and can be read.
    run_id = _stored_ids(run).get("wandb") or re.sub(r"[^A-Za-z0-9_-]+", "-", name)[-100:]
    tracker = start_wandb(config.tracker_args, folder=run.path, run_id=run_id, name=name)
    _store_id(run, "wandb", str(tracker.version))
    return tracker


def _mlflow(config: Config, run: RunFolder, name: str) -> Logger:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read with the import; else it reports what is used
    try:
        from mlstack.engines.lightning.mlflow_tracker import start_mlflow
    except ModuleNotFoundError as error:
        raise MissingPackageError("' '".join(MLFLOW_PINS), needed_for="tracker=mlflow") from error
    run_id = _stored_ids(run).get("mlflow")
    tracker = start_mlflow(config.tracker_args, output_dir=Path(config.output_dir), run_id=run_id, name=name)
    _store_id(run, "mlflow", tracker.run_id)
    return tracker


def _stored_ids(run: RunFolder) -> dict[str, str]:
    try:
        ids = json.loads((run.path / "tracker_ids.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return ids if isinstance(ids, dict) else {}


def _store_id(run: RunFolder, tracker: str, run_id: str) -> None:
    """Keep what the tracker calls this run, so that it appears there once, however often it is resumed."""
    ids = {**_stored_ids(run), tracker: run_id}
    write_text(run.path / "tracker_ids.json", json.dumps(ids) + "\n")


def finish_trackers(
    trackers: Iterable[Logger], run: RunFolder, *, images: Sequence[Path], status: str = "finished"
) -> None:
    """Send what came out of a run, and end its record. What a tracker can't take costs one line, never the run.

    Args:
        trackers: From `build_trackers`.
        run: The run folder: final numbers from its results.json, the best checkpoint where there is one.
        images: PNGs to send; those that are not there are left out.
        status: How the run ended, as in results.json.
    """
    trackers = list(trackers)
    for tracker in trackers:
        if isinstance(tracker, Tracker):
            try:
                tracker.record_end(_final_numbers(run), [path for path in images if path.is_file()], _best(run))
            except tracker.errors as error:
                _warn("was not sent all results", error)
    close_trackers(trackers, status=status)


def close_trackers(trackers: Iterable[Logger], *, status: str = "finished") -> None:
    """End what would stay open: the next run of this process would go on in this one's record.

    Args:
        trackers: From `build_trackers`.
        status: `finished`, `fast_dev_run`, `interrupted` or `failed`.
    """
    for tracker in trackers:
        if isinstance(tracker, Tracker):
            try:
                tracker.close(status)
            except tracker.errors as error:
                _warn("could not be closed", error)


def _warn(what: str, error: Exception) -> None:
    say(f"warning: the tracker {what}: {(str(error).splitlines() or [type(error).__name__])[0]}")


def _final_numbers(run: RunFolder) -> dict[str, float]:
    """`final/test_accuracy`, `final/images_per_second`, …; what was not measured is left out."""
    results = run.read_results() if run.results_path.exists() else {}
    numbers = {name: results.get(name) for name in FINAL_FACTS}
    for split, scores in results.get("metrics", {}).items():
        numbers.update({f"{split}_{metric}": value for metric, value in scores.items()})
    return {
        f"final/{name}": float(value)
        for name, value in numbers.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _best(run: RunFolder) -> Path | None:
    try:
        return run.checkpoint("best")
    except RunError:
        return None
