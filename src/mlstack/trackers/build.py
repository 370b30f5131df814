"""Start what a run writes to: always metrics.csv, and the tracker that the settings name.

trackers = build_trackers(config, run)                       # before training
finish_trackers(trackers, run, images=[…])                   # when the run's results and figures are there
close_trackers(trackers, status="failed")                    # instead, when training did not get to its end
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from mlstack.config import Config
from mlstack.config.flat_settings import flat_settings, flatten
from mlstack.errors import ConfigError, MissingPackageError
from mlstack.runs import RunFolder, write_text
from mlstack.trackers.base import Tracker
from mlstack.trackers.finish import warn
from mlstack.trackers.metrics_csv import MetricsFile
from mlstack.utils.ranks import is_main_process

MLFLOW_PINS = ("mlflow-skinny==3.17.2", "sqlalchemy==2.0.58", "alembic==1.20.1")
PROVENANCE = ("command", "git", "versions", "hardware")  # in results.json, from the run's start


def build_trackers(config: Config, run: RunFolder, *, resumed_step: int | None = None) -> list[Tracker]:
    """metrics.csv and, unless `tracker=none`, one more; nothing in a process that isn't the one that writes.

    Args:
        config: All settings.
        run: The run folder; its results.json says what the run is made with.
        resumed_step: Optimizer steps of the checkpoint that the run goes on from; None for a run from the start.

    Raises:
        ConfigError: The tracker refuses its arguments.
        MissingPackageError: Its package is not installed.
    """
    if not is_main_process():
        return []
    metrics = MetricsFile(run.metrics_path, task=config.data.task)
    if config.tracker == "none":
        return [metrics]
    try:
        tracker = _start(config, run, resumed_step)
    except TypeError as error:
        raise ConfigError(
            f"tracker={config.tracker} refuses tracker_args={config.tracker_args}: {error}", key="tracker_args"
        ) from error
    results = run.read_results() if run.results_path.exists() else {}
    facts = {name: results[name] for name in PROVENANCE if name in results}
    try:
        tracker.record_start(flat_settings(config), flatten(facts))
    except tracker.errors as error:
        warn("was not sent the settings", error)
    return [metrics, tracker]


def _start(config: Config, run: RunFolder, resumed_step: int | None) -> Tracker:
    name = f"{run.path.absolute().parent.name}/{run.path.absolute().name}"
    if config.tracker == "tensorboard":
        return _tensorboard(config, run, resumed_step)
    if config.tracker == "wandb":
        return _wandb(config, run, name)
    return _mlflow(config, run, name)


def _tensorboard(config: Config, run: RunFolder, resumed_step: int | None) -> Tracker:
    from mlstack.trackers.tensorboard_tracker import TensorBoard

    # What was logged after the checkpoint is logged again; TensorBoard forgets events from this step on.
    purge = {} if resumed_step is None else {"purge_step": resumed_step + 1}
    return TensorBoard(run.path, **{**purge, **config.tracker_args})


def _wandb(config: Config, run: RunFolder, name: str) -> Tracker:
    try:
        from mlstack.trackers.wandb_tracker import start_wandb
    except ModuleNotFoundError as error:
        raise MissingPackageError("wandb==0.31.0", needed_for="tracker=wandb") from error
    # Weights & Biases takes any id; the run folder's name is the only one in the world, and can be read.
    run_id = _stored_ids(run).get("wandb") or re.sub(r"[^A-Za-z0-9_-]+", "-", name)[-100:]
    tracker = start_wandb(config.tracker_args, folder=run.path, run_id=run_id, name=name)
    _store_id(run, "wandb", tracker.run_id)
    return tracker


def _mlflow(config: Config, run: RunFolder, name: str) -> Tracker:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read with the import; else it reports what is used
    try:
        from mlstack.trackers.mlflow_tracker import start_mlflow
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
