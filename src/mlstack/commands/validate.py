"""Find out whether this code works here: its models (`make validate`), or one of the two stages of a deployment.

    stage=models   every shipped model for one epoch, with a table            → summary.json
    stage=venv     environment, GPU, one epoch, utilisation, bundle           → venv.json, venv.md
    stage=docker   the images: built, one epoch without a GPU, a service      → docker.json, docker.md

All of it in <output_dir>/validate/. Exit status 1 when a model or a criterion failed.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mlstack.errors import OutputError
from mlstack.reports.tables import table
from mlstack.runs import write_text
from mlstack.validation.models import as_table, train_models
from mlstack.validation.report import StageReport, as_rows, notes, passed, write_report
from mlstack.validation.training import TRAIN_SCRIPT

if TYPE_CHECKING:
    from mlstack.config.commands import ValidateConfig


def validate(config: ValidateConfig, *, script: Path = TRAIN_SCRIPT) -> None:
    """Run what `config.stage` names.

    Args:
        config: Which models, on what, for how long, with which limits.
        script: What is run to train.

    Raises:
        MLStackError: The folder can't be written, or the stage can't begin.
    """
    folder = Path(config.output_dir) / "validate"
    if config.stage == "models":
        make_folder(folder)
        validate_models(config, folder, script)
    else:
        conclude(run_stage(config, folder, script), folder)


def run_stage(config: ValidateConfig, folder: Path, script: Path) -> StageReport:
    """Stage 1 or stage 2."""
    if config.stage == "docker":
        from mlstack.validation.docker import validate_docker

        make_folder(folder)
        return validate_docker(config)
    from mlstack.commands.check_env import all_checks
    from mlstack.validation.venv import is_dry_run, validate_venv

    dry_run = is_dry_run(config)  # before anything costs time
    make_folder(folder)
    print("looking at the environment", flush=True)
    checks = list(all_checks(Path(config.output_dir)))
    return validate_venv(config, checks, dry_run=dry_run, script=script)


def validate_models(config: ValidateConfig, folder: Path, script: Path) -> None:
    """Train each model, print the table, write `summary.json`."""
    outcomes = train_models(config, folder, accelerator=config.accelerator, script=script)
    print(as_table(outcomes))
    summary = folder / "summary.json"
    write_text(summary, json.dumps([dataclasses.asdict(outcome) for outcome in outcomes], indent=2) + "\n")
    print(f"written: {summary}")
    if failed := [outcome.model for outcome in outcomes if outcome.reason]:
        print(f"failed: {', '.join(failed)}; the output of each is in {folder}/MODEL.log", file=sys.stderr)
        sys.exit(1)


def conclude(report: StageReport, folder: Path) -> None:
    """Write the report, print its table and what to do; end with exit status 1 where a criterion failed."""
    path = write_report(report, folder)
    if report.dry_run:
        print("\na dry run on the CPU: nothing is said about a GPU")
    print(f"\n{table(('criterion', 'value', 'limit', 'verdict'), as_rows(report))}\n")
    for line in notes(report):
        print(line)
    print(f"written: {path}, {path.with_suffix('.md')}")
    if not passed(report):
        failed = [criterion.name for criterion in report.criteria if criterion.status == "fail"]
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
        sys.exit(1)


def make_folder(folder: Path) -> None:
    """Make the folder of all that is written.

    Raises:
        OutputError: It can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror}", hint="give another output_dir=…") from error
