"""Run a training script and note when it trains: `python -m mlstack.validation.marked_training MARKS SCRIPT WORDS…`

A training process also imports, validates, saves checkpoints and draws figures. What is sampled from outside belongs to
training only between the marks that this leaves, a line each: `start 1764000000.12` and `stop 1764000009.34`. Both
engines measure images/s with the same stopwatch; here it writes those lines too.
"""

from __future__ import annotations

import runpy
import sys
import time
from pathlib import Path

from mlstack.engines import progress
from mlstack.engines.position import Position


def with_marks(marks: Path) -> type[progress.Stopwatch]:
    """A stopwatch that also writes when it is started and stopped."""

    def note(word: str) -> None:
        with marks.open("a", encoding="utf-8") as file:
            file.write(f"{word} {time.time():.3f}\n")

    class MarkingStopwatch(progress.Stopwatch):
        def start_epoch(self, position: Position) -> None:
            super().start_epoch(position)
            note("start")

        def stop_epoch(self) -> float:
            note("stop")
            return super().stop_epoch()

    return MarkingStopwatch


def read_spans(marks: Path) -> tuple[tuple[float, float], ...]:
    """Beginnings and ends of the training parts, in seconds since the epoch; none where no mark was written."""
    if not marks.is_file():
        return ()
    rows = [line.split() for line in marks.read_text(encoding="utf-8").splitlines()]
    starts, stops = ([float(moment) for word, moment in rows if word == kind] for kind in ("start", "stop"))
    return tuple(zip(starts, stops, strict=False))  # a run that was stopped has a start more


def main() -> None:
    """Put the stopwatch in its place before an engine is imported, then become the script."""
    marks, script, *words = sys.argv[1:]
    progress.Stopwatch = with_marks(Path(marks))  # type: ignore[misc]
    sys.argv = [script, *words]
    sys.path[0] = str(Path(script).parent)  # what Python does for a script; `-m` had put the current folder there
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
