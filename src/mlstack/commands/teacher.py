"""`distill.teacher=`: which run teaches, and whether it can teach this one."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlstack.config import Config
from mlstack.errors import ConfigError, RunError
from mlstack.runs import RunFolder, find_run


def with_teacher(config: Config) -> Config:
    """The settings with the teacher's folder in full: what a run that goes on finds it by.

    `latest` is the newest finished run of the same engine that had no teacher itself, so that a second student, or the
    next one of a sweep, does not learn from the first.

    Raises:
        RunError: There is no such run, or it has no best checkpoint.
        ConfigError: It is another engine's.
    """
    which = config.distill.teacher
    if which is None:
        return config
    run = _find(which, config)
    run.checkpoint("best")
    engine = run.read_config().trainer.engine
    if engine != config.trainer.engine:
        raise ConfigError(
            f"distill.teacher={which}: its network is of trainer.engine={engine}, this run's of "
            f"{config.trainer.engine}",
            key="distill.teacher",
            hint=f"convert it first: python scripts/convert.py run={run.path} engine={config.trainer.engine}",
        )
    return replace(config, distill=replace(config.distill, teacher=str(run.path.absolute())))


def _find(which: str, config: Config) -> RunFolder:
    try:
        return find_run(
            which,
            output_dir=config.output_dir,
            key="distill.teacher",
            kind=f"finished run of trainer.engine={config.trainer.engine} without a teacher",
            fits=lambda run: run.engine == config.trainer.engine and "distill" not in run.read_results(),
        )
    except RunError as error:
        if config.resume is None:
            raise
        raise RunError(
            error.message,
            hint=f"was it moved? this key may be changed while a run goes on: resume={config.resume} "
            "distill.teacher=<its new place>",
        ) from error


def check_teacher(config: Config) -> None:
    """Raises ConfigError where the teacher answers another question than the one that this run's data ask.

    Args:
        config: All settings, those that follow from the data and the teacher's folder among them.
    """
    if config.distill.teacher is None:
        return
    taught, own = RunFolder(Path(config.distill.teacher)).read_config().data, config.data
    differences = {"data.task": (taught.task, own.task), "data.channels": (taught.channels, own.channels)}
    theirs, ours = taught.classes or [], own.classes or []
    differences["number of classes"] = (len(theirs), len(ours))
    differences |= {f"class {number}": pair for number, pair in enumerate(zip(theirs, ours, strict=False))}
    for name, (before, now) in differences.items():
        if before != now:
            raise ConfigError(
                f"distill.teacher={config.distill.teacher} was trained for something else: its {name} is {before}, "
                f"this run's {now}",
                key="distill.teacher",
                hint="a teacher needs the same task, the same classes in the same order, and as many channels",
            )


def teacher_facts(config: Config) -> dict[str, Any]:
    """`distill` of results.json; empty without a teacher."""
    distill = config.distill
    if distill.teacher is None:
        return {}
    with RunFolder(Path(distill.teacher)).checkpoint("best").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "distill": {
            "teacher": distill.teacher,
            "checkpoint_sha256": digest,
            "temperature": distill.temperature,
            "weight": distill.weight,
        }
    }


def teacher_line(config: Config) -> str:
    """What the opening of a run says of its teacher; empty without one."""
    distill = config.distill
    if distill.teacher is None:
        return ""
    return f"teacher     {distill.teacher}, weight {distill.weight:g}, temperature {distill.temperature:g}\n"


def check_same_teacher(run: RunFolder, facts: dict[str, Any]) -> None:
    """Raises RunError where a run that goes on would learn from other weights than those that it began with."""
    known = run.read_results().get("distill") if run.results_path.exists() else None
    if known and facts and known["checkpoint_sha256"] != facts["distill"]["checkpoint_sha256"]:
        raise RunError(
            f"distill.teacher={facts['distill']['teacher']}: its best checkpoint is not the one that {run.path} "
            "began to learn from",
            hint=f"name the folder that holds it, or start a new run from this one's weights: init_from={run.path}",
        )
