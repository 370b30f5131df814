"""The run folder: one training run, everything in it relative, so that it can be moved or copied and still be used.

outputs/<data>_<model>_<engine>/<date_time_id>/
    config.yaml    every setting, derived ones included      results.json   metrics, speed, memory, provenance
    checkpoints/   best.ckpt last.ckpt epoch_0.ckpt …        metrics.csv    figures/*.png    train.log
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mlstack.config import Config
from mlstack.config.sweep import RUN_RECORD_VARIABLE, SWEEP_START_VARIABLE
from mlstack.errors import OutputError, RunError

# Processes that a launcher starts for the other devices of one run find its folder here.
RUN_FOLDER_VARIABLE = "MLSTACK_RUN_FOLDER"


@dataclass(frozen=True, order=True)
class RunFolder:
    """Names inside one run folder."""

    path: Path

    @property
    def config_path(self) -> Path:
        return self.path / "config.yaml"

    @property
    def results_path(self) -> Path:
        return self.path / "results.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def log_path(self) -> Path:
        return self.path / "train.log"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    def read_config(self) -> Config:
        """The run's settings, typed; derived values (classes, image size, mean, …) are filled in.

        Raises:
            RunError: The file is missing, unreadable or from another version of the schema.
        """
        try:
            stored = OmegaConf.load(self.config_path)
            config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), stored))
        except (OSError, OmegaConfBaseException, YAMLError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(
                f"{self.config_path} can't be read as a run's settings: {reason}",
                hint="is it a run folder of this version? run= takes the folder that holds config.yaml",
            ) from error
        assert isinstance(config, Config)
        return config

    def write_config(self, config: Config) -> None:
        write_text(self.config_path, OmegaConf.to_yaml(OmegaConf.structured(config)))

    def read_results(self) -> dict[str, Any]:
        """The content of results.json.

        Raises:
            RunError: The file is missing or damaged.
        """
        try:
            results = json.loads(self.results_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.results_path} can't be read: {error}") from error
        if not isinstance(results, dict):
            raise RunError(f"{self.results_path} holds no results")
        return results

    @property
    def started(self) -> str:
        """When the run was started, in a form that sorts; empty where nobody knows."""
        try:
            return str(self.read_results().get("started_at", ""))
        except RunError:
            return ""

    @property
    def engine(self) -> str:
        """`trainer.engine` of its settings.

        Raises:
            RunError: They can't be read.
        """
        return self.read_config().trainer.engine

    @property
    def is_converted(self) -> bool:
        """Whether `scripts/convert.py` made it from a run of another engine."""
        try:
            return "converted_from" in self.read_results()
        except RunError:
            return False

    def update_results(self, **entries: Any) -> None:
        """Add or replace entries of results.json."""
        results = self.read_results() if self.results_path.exists() else {}
        write_text(self.results_path, json.dumps({**results, **entries}, indent=2, ensure_ascii=False) + "\n")

    @property
    def has_checkpoint(self) -> bool:
        """Whether there is something to go on with."""
        return any(self.checkpoints.glob("[!.]*.ckpt"))

    def checkpoint(self, which: str = "best") -> Path:
        """The file of the `best` or the `last` checkpoint.

        Raises:
            RunError: There is none.
        """
        found = sorted(self.checkpoints.glob(f"{which}.*"))
        if not found:
            raise RunError(
                f"{self.path} has no {which} checkpoint",
                hint="the run did not get that far, or was a trainer.fast_dev_run; name another one: run=<run folder>",
            )
        return found[0]


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        OutputError: The path can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OutputError(f"{path} can't be written: {error.strerror or error}", hint="choose another path") from error


def announced_run() -> RunFolder | None:
    """The run that this process belongs to, where another process has started it for one of the run's devices."""
    announced = os.environ.get(RUN_FOLDER_VARIABLE)
    return RunFolder(Path(announced)) if announced else None


def record_run(run: RunFolder) -> None:
    """Tell whoever started this process which run it made, where they asked for it."""
    if record := os.environ.get(RUN_RECORD_VARIABLE):
        with Path(record).open("a", encoding="utf-8") as file:
            file.write(f"{run.path.absolute()}\n")


def create_run(config: Config) -> RunFolder:
    """Make a new run folder with a name that no other run has.

    Raises:
        OutputError: The folder can't be made.
    """
    names = (config.data.name, config.model.name, config.trainer.engine)
    family = "_".join(re.sub(r"[^\w.-]+", "-", name) for name in names)
    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    path = Path(config.output_dir).expanduser() / family / f"{now}_{secrets.token_hex(2)}"
    try:
        path.mkdir(parents=True, exist_ok=False)
    except OSError as error:
        raise OutputError(
            f"the run folder {path} can't be made: {error.strerror or error}",
            hint="choose another place: output_dir=<folder>",
        ) from error
    return RunFolder(path)


def discard_run(run: RunFolder) -> None:
    """Remove a run that did not get as far as training, and its family's folder if nothing else is in it."""
    shutil.rmtree(run.path, ignore_errors=True)
    with contextlib.suppress(OSError):  # other runs are in it
        run.path.parent.rmdir()


def finish_run(run: RunFolder, *, output_dir: str | Path) -> None:
    """Mark a run as finished and point `<output_dir>/latest` to it."""
    run.update_results(status="finished", finished_at=datetime.now(UTC).isoformat())
    link = Path(output_dir).expanduser() / "latest"
    temporary = link.with_name(f".latest.{os.getpid()}")
    # A file system without symbolic links costs the link only: `latest` is looked up in the results.
    with contextlib.suppress(OSError):
        temporary.symlink_to(os.path.relpath(run.path, link.parent), target_is_directory=True)
        temporary.replace(link)
    temporary.unlink(missing_ok=True)


def find_run(
    which: str,
    *,
    output_dir: str | Path = "outputs",
    key: str = "run",
    kind: str = "finished run",
    fits: Callable[[RunFolder], bool] = lambda run: True,
) -> RunFolder:
    """The run folder that `run=` (or another key) names: a path, or `latest`, the newest finished run in `output_dir`.

    Args:
        which: The folder, or `latest`.
        output_dir: Where `latest` is looked for.
        key: What messages call it.
        kind: What messages call a run that fits.
        fits: Whether `latest` may be that run; asked about the newest one first. One that can't be read isn't.

    Raises:
        RunError: There is none.
    """
    root = Path(output_dir).expanduser()
    if which == "latest":
        found = (_finished(RunFolder(path.parent)) for path in root.glob("*/*/results.json"))
        for _, run in sorted((dated for dated in found if dated), reverse=True):
            with contextlib.suppress(RunError):
                if fits(run):
                    return run
        raise RunError(
            f"{key}=latest: no {kind} in {root}/",
            hint="train one first: python scripts/train.py data=digits\nor name another place: output_dir=<folder>",
        )
    run = RunFolder(Path(which).expanduser())
    if not run.config_path.is_file():
        raise RunError(
            f"{key}={which}: no run folder there (a run folder holds config.yaml)",
            hint=f"{key}=latest takes the newest finished run in {root}/",
        )
    return run


def find_resumable(which: str, *, output_dir: str | Path = "outputs") -> RunFolder:
    """The run that `resume=` names: its folder, or `latest` for the newest under `output_dir` that has a checkpoint.

    Raises:
        RunError: There is none.
    """
    root = Path(output_dir).expanduser()
    if which != "latest":
        run = RunFolder(Path(which).expanduser())
        if not run.config_path.is_file():
            hint = f"resume=latest takes the newest run in {root}/ that has a checkpoint"
            raise RunError(f"resume={which}: no run folder there (a run folder holds config.yaml)", hint=hint)
        if run.is_converted:
            hint = f"start a new run from them: init_from={which}"
            raise RunError(f"resume={which}: a converted run holds weights, and no optimizer to go on with", hint=hint)
        return run
    folders = (RunFolder(path.parent) for path in root.glob("*/*/config.yaml"))
    started = [(run.started, run) for run in folders if run.has_checkpoint and not run.is_converted]
    if not started:
        raise RunError(
            f"resume=latest: no run in {root}/ has a checkpoint",
            hint="a run writes its first one after trainer.checkpoint_every_n_steps or an epoch\n"
            "name another place (output_dir=<folder>), or train anew: leave resume away",
        )
    return max(started)[1]


def _finished(run: RunFolder) -> tuple[str, RunFolder] | None:
    """When a run finished, with the run; None for one that has not, or can't be read.

    To a job of a sweep, what finished after the sweep's beginning is not there: `latest` is the same run for all jobs.
    """
    try:
        results = run.read_results()
    except RunError:
        return None
    if results.get("status") != "finished" or not run.config_path.is_file():
        return None
    finished = str(results.get("finished_at", ""))
    return None if finished > os.environ.get(SWEEP_START_VARIABLE, "~") else (finished, run)
