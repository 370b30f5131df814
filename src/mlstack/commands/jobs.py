"""Jobs that are started again after a failure: the same command goes on with the run that it began.

torchrun restarts its processes with the same arguments when a machine is lost, and so do SLURM (requeue) and
Kubernetes. A job has a name: `trainer.job`, or torchrun's `--rdzv-id`. Rank 0 looks under `output_dir` for a run that a
job of this name has begun with the same settings and has not finished; all ranks go on with it, as with `resume=`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from mlstack.commands.resume import CHANGEABLE, value_of
from mlstack.config import Config
from mlstack.config.keys import walk
from mlstack.engines import Engine
from mlstack.errors import RunError
from mlstack.runs import RunFolder, announced_run
from mlstack.utils.console import say
from mlstack.utils.ranks import is_main_process

LAUNCHER_VARIABLE = "TORCHELASTIC_RUN_ID"
UNNAMED = "none"  # torchrun's own word for a job that has no --rdzv-id
# Of what may change while a run goes on, what it keeps all the same: `latest` could mean another run by now.
KEPT = ("resume", "distill.teacher")


@dataclass(frozen=True)
class Job:
    """What tells one job from others.

    Attributes:
        name: `trainer.job`, or the launcher's.
        settings: A digest of the settings as they were asked for, without those that a run may change on the way.
    """

    name: str
    settings: str


def job_of(config: Config) -> Job | None:
    """The job that this command is; None where nobody has given it a name, or it can't be gone on with."""
    name = config.trainer.job or os.environ.get(LAUNCHER_VARIABLE, UNNAMED)
    if name == UNNAMED or config.resume is not None or config.trainer.fast_dev_run:
        return None
    settings = {key.name: value_of(config, key.name) for key in walk(Config) if key.name not in CHANGEABLE}
    text = json.dumps(settings, sort_keys=True, default=str)
    return Job(name, hashlib.sha256(text.encode()).hexdigest())


def begun_run(job: Job | None, config: Config, engine: Engine) -> RunFolder | None:
    """The run that this job has begun before; None for a new job. Rank 0 decides for all ranks.

    Args:
        job: The job.
        config: The settings as they were asked for.
        engine: Carries rank 0's answer to the others.
    """
    if job is None:
        return None
    if (announced := announced_run()) is not None:  # rank 0 has chosen it, and has not trained in it yet
        return announced if announced.has_checkpoint else None
    found = unfinished_run(job, output_dir=config.output_dir) if is_main_process() else None
    answer = engine.share(config, (str(found.path) if found else "") if is_main_process() else None)
    return RunFolder(Path(answer)) if answer else None


def unfinished_run(job: Job, *, output_dir: str | Path) -> RunFolder | None:
    """The newest run that this job has begun and not finished; says so where one of the name has other settings."""
    found = []
    for path in Path(output_dir).expanduser().glob("*/*/results.json"):
        run = RunFolder(path.parent)
        with contextlib.suppress(RunError):
            results = run.read_results()
            begun_by = results.get("job", {})
            if begun_by.get("name") == job.name and results.get("status") != "finished":
                found.append((begun_by == asdict(job), str(results.get("started_at", "")), run))
    if not found:
        return None
    same, _, run = max(found)
    if not same:
        say(f"job         {job.name}: {run.path} is unfinished and has other settings: a new run begins")
    return run if same else None


def going_on(run: RunFolder, asked: Config) -> Config:
    """The settings of a run that its job goes on with: its own, and what may change while it goes on as asked now.

    Raises:
        RunError: They can't be read.
    """
    config = run.read_config()
    for name in CHANGEABLE.difference(KEPT):
        *groups, last = name.split(".")
        setattr(functools.reduce(getattr, groups, config), last, value_of(asked, name))
    config.resume = str(run.path)
    return config
