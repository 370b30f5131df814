"""`-m`: one run for each combination of values, each in a process of its own, one after the other.

Frameworks leave global state behind, and a run that dies must not take the others along: hence the processes.
"""

from __future__ import annotations

import importlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlstack.config.compose import compose, expand_sweep
from mlstack.config.flags import Arguments
from mlstack.errors import ConfigError

SOME_FAILED = 1
TERMINATED = 143  # 128 + SIGTERM, as shells count
SWEEP_START_VARIABLE = "MLSTACK_SWEEP_START"  # when it began: `latest` means the same run to each of its jobs
RUN_RECORD_VARIABLE = "MLSTACK_RUN_RECORD"  # names a file to which a job that trains appends its run folder
COMPARISON = "mlstack.commands.compare_runs:compare_sweep"  # imported last: it needs matplotlib


def run_sweep(arguments: Arguments, schema: type, config_name: str) -> int:
    """Run every job of a sweep; the exit status is 0 when all of them ended well, else 1.

    Raises:
        ConfigError: Before any job is started, when one of them is misconfigured.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        raise ConfigError(
            "--multirun does not work under torchrun, which would start each job once for every process",
            hint="type the sweep without torchrun; several devices for each job: trainer.devices=N",
        )
    dirs = arguments.config_dirs
    jobs = expand_sweep(schema, arguments.overrides, config_name=config_name, config_dirs=dirs)
    configs: list[Any] = [compose(schema, job, config_name=config_name, config_dirs=dirs) for job in jobs]
    flags = [f"--config-dir={folder}" for folder in dirs]
    name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(2)}"
    started, statuses = datetime.now(UTC).isoformat(), []
    with _ended_by_signals(), tempfile.TemporaryDirectory(prefix="mlstack_sweep_") as folder:
        record = Path(folder) / "runs.txt"
        for number, job in enumerate(jobs, start=1):
            print(f"[{number}/{len(jobs)}] {' '.join(job)}", flush=True)
            variables = {RUN_RECORD_VARIABLE: str(record), SWEEP_START_VARIABLE: started}
            statuses.append(_run_job([sys.executable, sys.argv[0], *flags, *job], variables))
        runs = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
        _print_summary(jobs, statuses)
        if runs:
            _compare(runs, Path(getattr(configs[0], "output_dir", "outputs")).expanduser() / "sweeps" / name)
    return SOME_FAILED if any(statuses) else 0


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the sweep and its job, whatever it inherited.

    A shell without job control (a script, `nohup make … &`) lets what it starts in the background ignore SIGINT.
    """
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED)),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run_job(command: Sequence[str], variables: Mapping[str, str]) -> int:
    """Run one job to its end, and never leave it behind: after Ctrl-C it may still be writing its last checkpoint."""
    process = subprocess.Popen(command, env={**os.environ, **variables})
    try:
        return process.wait()
    except (KeyboardInterrupt, SystemExit):
        # A terminal's Ctrl-C has reached the job too, and it takes a SIGTERM that follows for the same signal
        # (`engines/stopping.py`); `kill -INT` has reached the sweep alone.
        process.terminate()
        process.wait()
        raise


def _print_summary(jobs: Sequence[Sequence[str]], statuses: Sequence[int]) -> None:
    failed = sum(status != 0 for status in statuses)
    print(f"{len(jobs)} jobs: {len(jobs) - failed} ok, {failed} failed")
    for number, (job, status) in enumerate(zip(jobs, statuses, strict=True), start=1):
        print(f"  [{number}/{len(jobs)}] {'ok' if status == 0 else f'failed, exit status {status}'}: {' '.join(job)}")


def _compare(runs: Sequence[str], folder: Path) -> None:
    module, _, function = COMPARISON.partition(":")
    getattr(importlib.import_module(module), function)(runs, str(folder))
