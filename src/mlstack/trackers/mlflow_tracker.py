"""`tracker=mlflow`: an MLflow run, in a sqlite file beside the run folders unless a server is named.

All goes through a client of the run's own: `mlflow.start_run` and its kin hold one address and one run for the whole
process.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from mlstack.errors import ConfigError
from mlstack.trackers.base import Tracker
from mlstack.utils.console import say

STATUSES = {"finished": "FINISHED", "fast_dev_run": "FINISHED", "interrupted": "KILLED"}
LONGEST_VALUE = 6000  # characters of a setting that MLflow stores
MOST_AT_ONCE = 100  # settings in one call


class MLflow(Tracker):
    """One MLflow run. A store that can't be reached in mid-run is warned of once, and left alone then.

    Args:
        tracking_uri: Where the store is.
        experiment: Made where there is none of that name.
        run_name: What the run is called.
        run_id: A run to go on with; None, or one that the store doesn't have = a new one.
        artifact_location: Where the files of a new experiment go; None = as the store likes it.
        tags: Of a new run.

    Raises:
        MlflowException: The store can't be used.
    """

    errors: ClassVar[tuple[type[Exception], ...]] = (MlflowException, OSError)

    def __init__(
        self,
        *,
        tracking_uri: str,
        experiment: str = "mlstack",
        run_name: str | None = None,
        run_id: str | None = None,
        artifact_location: str | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> None:
        self.client = MlflowClient(tracking_uri)
        self._lost = False
        self._known: set[str] = set()
        if run_id is not None and self._goes_on_with(run_id):
            self.run_id = run_id
            return
        found = self.client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self.client.create_experiment(experiment, artifact_location)
        self.run_id = str(self.client.create_run(number, tags=dict(tags or {}), run_name=run_name).info.run_id)

    def _goes_on_with(self, run_id: str) -> bool:
        try:
            self._known = set(self.client.get_run(run_id).data.params)
            self.client.update_run(run_id, status="RUNNING")
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        return True

    def log_metrics(self, row: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)  # milliseconds
        metrics = [Metric(name, float(value), now, step) for name, value in row.items()]
        self._unless_lost(lambda: self.client.log_batch(self.run_id, metrics=metrics))

    def record_start(self, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Settings as parameters, which MLflow never changes (a resumed run keeps the first ones); facts as tags."""
        new = [Param(name, str(value)[:LONGEST_VALUE]) for name, value in settings.items() if name not in self._known]
        for start in range(0, len(new), MOST_AT_ONCE):
            self.client.log_batch(self.run_id, params=new[start : start + MOST_AT_ONCE])
        tags = [RunTag(name, str(value)[:LONGEST_VALUE]) for name, value in facts.items()]
        if commit := facts.get("git.commit"):
            tags.append(RunTag("mlflow.source.git.commit", commit))
        self.client.log_batch(self.run_id, tags=tags)

    def record_end(self, scores: Mapping[str, float], images: Sequence[Path], checkpoint: Path | None) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(name, value, now, 0) for name, value in scores.items()])
        for path in images:
            self.client.log_artifact(self.run_id, str(path), "figures")
        if checkpoint is not None:
            self.client.log_artifact(self.run_id, str(checkpoint), "checkpoints")

    def close(self, status: str) -> None:
        self._unless_lost(lambda: self.client.set_terminated(self.run_id, STATUSES.get(status, "FAILED")))
        self._lost = True

    def _unless_lost(self, send: Callable[[], object]) -> None:
        if self._lost:
            return
        try:
            send()
        except self.errors as error:
            self._lost = True
            say(f"warning: tracker=mlflow gets no more of this run: {str(error).splitlines()[0]}")


def start_mlflow(arguments: Mapping[str, Any], *, output_dir: Path, run_id: str | None, name: str) -> MLflow:
    """Begin a run, or go on with the one of that id.

    Args:
        arguments: `tracker_args`: of `MLflow` above.
        output_dir: Where `mlflow.db` and `mlflow_artifacts/` go, unless `tracker_args.tracking_uri` or the environment
            variable MLFLOW_TRACKING_URI name another store.
        run_id: From the run folder; None for a new run.
        name: What the run is called.

    Raises:
        ConfigError: The store can't be used.
        TypeError: There is no such argument.
    """
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of each table that it makes
    logging.getLogger("alembic").setLevel(logging.WARNING)
    folder = output_dir.expanduser().absolute()
    given = {"run_name": name, "run_id": run_id, **arguments}
    elsewhere = given.get("tracking_uri") or os.environ.get("MLFLOW_TRACKING_URI")
    if not elsewhere:
        given.setdefault("artifact_location", (folder / "mlflow_artifacts").as_uri())
    given["tracking_uri"] = elsewhere or f"sqlite:///{folder / 'mlflow.db'}"
    try:
        return MLflow(**given)
    except (MlflowException, OSError) as error:
        raise ConfigError(
            f"tracker=mlflow can't use {given['tracking_uri']}: {str(error).splitlines()[0]}",
            key="tracker_args",
            hint="name a store: tracker_args.tracking_uri=sqlite:////path/mlflow.db or http://server:5000",
        ) from error
