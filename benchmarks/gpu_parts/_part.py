"""How a part is started: `python -m gpu_parts.NAME --rows FILE --folder FOLDER [--dry]`, by benchmarks/gpu.py.

A part may be stopped at any moment: it writes each row as soon as it has it. When benchmarks/gpu.py itself is killed,
the part ends with everything that it has started.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpu_parts._rows import Row, RowWriter, Skipped, reason_of
from mlstack.utils.hardware import usable_cores

BENCHMARKS = Path(__file__).parents[1]
SCRIPTS = BENCHMARKS.parent / "scripts"
PHOTOGRAPHS = BENCHMARKS.parent / "photographs"  # in the kit; elsewhere they are made
WATCHED_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class Place:
    """Where a part runs.

    Attributes:
        dry: On the CPU, with tiny sizes: only to see whether it runs.
        folder: Its own folder, for whatever it writes.
        shared: A folder that outlives the part.
        kept: The folder of the whole run's output, for files that a reader wants.
    """

    dry: bool
    folder: Path
    shared: Path
    kept: Path

    @property
    def accelerator(self) -> str:
        return "cpu" if self.dry else "gpu"

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    @property
    def workers(self) -> int:
        """Processes that decode pictures: all cores but one, which trains."""
        return 1 if self.dry else max(2, min(16, usable_cores() - 1))

    def need_gpu(self, why: str) -> None:
        """Leave a row out of a dry run.

        Raises:
            Skipped: It is one.
        """
        if self.dry:
            raise Skipped(f"dry run: {why}")


def run_part(measure: Callable[[RowWriter, Place], None]) -> None:
    """Read the command line, measure, and end with status 1 where all of it failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--dry", action="store_true")
    given = parser.parse_args()
    end_with(os.getppid())
    rows = RowWriter(given.rows)
    work = given.folder.parent
    place = Place(given.dry, given.folder, work / "shared", work.parent)
    for folder in (place.folder, place.shared):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        measure(rows, place)
    except Skipped as reason:
        rows.skip("all of it", str(reason))
    except Exception as error:
        traceback.print_exc()
        rows.write(Row("all of it", "failed", note=reason_of(error)))
        raise SystemExit(1) from error


def end_with(parent: int) -> None:
    """Kill this process group when `parent` is gone: a card that a forgotten training holds is of use to nobody."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCHED_EVERY)
        os.killpg(0, signal.SIGKILL)

    if os.getpgrp() == os.getpid():  # started by hand, the group may be a shell's
        threading.Thread(target=watch, name="end_with", daemon=True).start()
