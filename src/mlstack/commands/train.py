"""Train, evaluate the best checkpoint, draw the figures: all of it into one run folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlstack.commands.conclusion import record, show
from mlstack.commands.jobs import Job, begun_run, going_on, job_of
from mlstack.commands.pruning import with_pruned
from mlstack.commands.resume import check_changes, is_over, starting_weights
from mlstack.commands.run_end import end_recorded
from mlstack.commands.teacher import check_same_teacher, check_teacher, teacher_facts, teacher_line, with_teacher
from mlstack.config import Config
from mlstack.datasets import Dataset, load_dataset
from mlstack.datasets.derived import complete
from mlstack.engines import Engine, create_engine
from mlstack.errors import DataError
from mlstack.models.catalog import check_name, check_pretrained
from mlstack.provenance import git_state, provenance
from mlstack.runs import RunFolder, announced_run, create_run, find_resumable, record_run
from mlstack.utils.console import logged_to, say
from mlstack.utils.hardware import limit_threads
from mlstack.utils.ranks import is_main_process

WHAT_IS_LEARNT = {"classification": "classes", "multilabel": "labels", "regression": "targets"}


def train(config: Config) -> None:
    """Train a model as the settings say, or go on with a run that was stopped, and leave a finished run folder.

    Where the command has the name of a job, it goes on with the run that this job has begun; see `jobs.py`.

    Raises:
        MLStackError: Settings, data or hardware that can't work; no new run folder is left behind.
    """
    limit_threads()
    asked, job, resumed = config, job_of(config), _resumed(config)
    if resumed is not None and is_over(resumed.run, resumed.changes):
        say(f"{resumed.run.path} has finished: nothing to do (more epochs: trainer.max_epochs=N)")
        return
    if resumed is None:
        config = with_pruned(replace(config, init_from=starting_weights(config)))
    config = with_teacher(config)
    if config.model.target is None:
        check_name(config.model.name, config.trainer.engine)  # before a framework is imported
        if config.model.pretrained:
            check_pretrained(config.model.name, config.trainer.engine)
    engine = create_engine(config.trainer.engine)
    engine.check(config)
    if (begun := begun_run(job, asked, engine)) is not None:
        config = going_on(begun, asked)
        resumed = Resumed(begun, check_changes(begun.read_config(), config))
    dataset = load_dataset(config.data)
    config = complete(config, dataset)
    check_teacher(config)
    run = resumed.run if resumed else _new_run(engine, config, job)
    if not is_main_process():
        engine.fit(config, dataset, run)
        return
    record_run(run)
    with logged_to(run.log_path):
        with end_recorded(run, is_new=resumed is None):
            if resumed:
                _reopen(run, config, dataset, resumed.changes)
            else:
                facts = {"data": _data_facts(dataset), **teacher_facts(config), **provenance()}
                run.update_results(status="running", **facts)
            say(_opening(config, dataset, run, ranks=engine.world_size(config)))
            result = engine.fit(config, dataset, run)
            measured = record(engine, config, dataset, run, result)
        show(engine, config, dataset, run, result, measured)


@dataclass(frozen=True)
class Resumed:
    """A run that goes on, and what of its settings is new."""

    run: RunFolder
    changes: list[str]


def _resumed(config: Config) -> Resumed | None:
    if config.resume is None:
        return None
    run = announced_run() or find_resumable(config.resume, output_dir=config.output_dir)
    return Resumed(run, check_changes(run.read_config(), config))


def _new_run(engine: Engine, config: Config, job: Job | None) -> RunFolder:
    """The folder of a new run; of several processes only the first one makes it.

    It holds settings and job before the other processes are waited for: one that is lost by then costs no second run.
    """
    if (announced := announced_run()) is not None:
        return announced
    if not is_main_process():
        return RunFolder(Path(engine.share(config, None)))
    run = create_run(config)
    run.write_config(config)
    run.update_results(started_at=datetime.now(UTC).isoformat(), **({"job": asdict(job)} if job else {}))
    engine.share(config, str(run.path))
    return run


def _reopen(run: RunFolder, config: Config, dataset: Dataset, changes: list[str]) -> None:
    """Note that a run goes on.

    Raises:
        DataError: The data are not those that it began with.
        RunError: The teacher is not.
    """
    results = run.read_results() if run.results_path.exists() else {}
    known = results.get("data", {}).get("fingerprint")
    if known and known != dataset.fingerprint:
        raise DataError(
            f"the data are not those that {run.path} was trained on (another fingerprint)",
            hint="put the same data back, name their place with data.path=, or start anew with init_from=",
        )
    teacher = teacher_facts(config)
    check_same_teacher(run, teacher)
    entry = {"at": datetime.now(UTC).isoformat(), "git": git_state(), "changes": changes}
    run.update_results(status="running", error=None, resumed=[*results.get("resumed", []), entry], **teacher)
    # After the status: another process of this run that finds the new length must not take the run for finished.
    run.write_config(replace(config, resume=None))
    for change in changes:
        say(f"resume      {change}; the learning-rate schedule is computed anew")


def _data_facts(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "images": {name: len(split) for name, split in dataset.splits.items()},
        "classes": len(dataset.classes),
    }


def _opening(config: Config, dataset: Dataset, run: RunFolder, *, ranks: int) -> str:
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
    data, parts = config.data, config.trainer.accumulate_grad_batches
    batch = f"{data.batch_size}"
    if ranks * parts > 1:
        named = ((ranks, "devices"), (parts, "accumulated"))
        batch += "".join(f" × {count} {name}" for count, name in named if count > 1)
        batch += f" = {data.batch_size * ranks * parts:,} images an optimizer step"
    return (
        f"data        {dataset.name}: {sizes}; {data.image_size}×{data.image_size}×{data.channels}, "
        f"{len(dataset.classes)} {WHAT_IS_LEARNT[dataset.task]}\n"
        f"model       {config.model.target or config.model.name}, {config.model.optimizer}, {config.model.scheduler}\n"
        f"batch       {batch}\n{teacher_line(config)}"
        f"run folder  {run.path}"
    )
