"""`-m`: one run for each combination of values, each in a process of its own, one after the other.

Frameworks leave global state behind, and a run that dies must not take the others along: hence the processes.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence

from mlstack.config.compose import compose, expand_sweep
from mlstack.config.flags import Arguments

SOME_FAILED = 1
TERMINATED = 143  # 128 + SIGTERM, as shells count


def run_sweep(arguments: Arguments, schema: type, config_name: str) -> int:
    """Run every job of a sweep; the exit status is 0 when all of them ended well, else 1.

    Raises:
        ConfigError: Before any job is started, when one of them is misconfigured.
    """
    dirs = arguments.config_dirs
    jobs = expand_sweep(schema, arguments.overrides, config_name=config_name, config_dirs=dirs)
    for job in jobs:
        compose(schema, job, config_name=config_name, config_dirs=dirs)
    flags = [f"--config-dir={folder}" for folder in dirs]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    statuses = []
    for number, job in enumerate(jobs, start=1):
        print(f"[{number}/{len(jobs)}] {' '.join(job)}", flush=True)
        statuses.append(_run_job([sys.executable, sys.argv[0], *flags, *job]))
    _print_summary(jobs, statuses)
    return SOME_FAILED if any(statuses) else 0


def _run_job(command: Sequence[str]) -> int:
    """Run one job to its end, and never leave it behind: after Ctrl-C it may still be writing its last checkpoint."""
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()  # the terminal sent it the same signal
        raise
    except SystemExit:
        process.terminate()
        process.wait()
        raise


def _print_summary(jobs: Sequence[Sequence[str]], statuses: Sequence[int]) -> None:
    failed = sum(status != 0 for status in statuses)
    print(f"{len(jobs)} jobs: {len(jobs) - failed} ok, {failed} failed")
    for number, (job, status) in enumerate(zip(jobs, statuses, strict=True), start=1):
        print(f"  [{number}/{len(jobs)}] {'ok' if status == 0 else f'failed, exit status {status}'}: {' '.join(job)}")
