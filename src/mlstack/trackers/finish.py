"""End what trackers record. What a tracker can't take costs one line, never the run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlstack.errors import RunError
from mlstack.runs import RunFolder
from mlstack.trackers.base import Tracker
from mlstack.utils.console import say

# In results.json at a run's end, besides its metrics.
FINAL_FACTS = ("images_per_second", "train_seconds", "cpu_seconds", "peak_memory_mb", "parameters")


def finish_trackers(
    trackers: Iterable[Tracker], run: RunFolder, *, images: Sequence[Path], status: str = "finished"
) -> None:
    """Send what came out of a run, and end its record.

    Args:
        trackers: From `build_trackers`.
        run: The run folder: final numbers from its results.json, the best checkpoint where there is one.
        images: PNGs to send; those that are not there are left out.
        status: How the run ended, as in results.json.
    """
    trackers = list(trackers)
    for tracker in trackers:
        try:
            tracker.record_end(_final_numbers(run), [path for path in images if path.is_file()], _best(run))
        except tracker.errors as error:
            warn("was not sent all results", error)
    close_trackers(trackers, status=status)


def close_trackers(trackers: Iterable[Tracker], *, status: str = "finished") -> None:
    """End what would stay open: the next run of this process would go on in this one's record.

    Args:
        trackers: From `build_trackers`.
        status: `finished`, `fast_dev_run`, `interrupted` or `failed`.
    """
    for tracker in trackers:
        try:
            tracker.close(status)
        except tracker.errors as error:
            warn("could not be closed", error)


def warn(what: str, error: Exception) -> None:
    """Say in one line what a tracker could not do."""
    say(f"warning: the tracker {what}: {(str(error).splitlines() or [type(error).__name__])[0]}")


def _final_numbers(run: RunFolder) -> dict[str, float]:
    """`final/test_accuracy`, `final/images_per_second`, …; what was not measured is left out."""
    results = run.read_results() if run.results_path.exists() else {}
    numbers = {name: results.get(name) for name in FINAL_FACTS}
    for split, scores in results.get("metrics", {}).items():
        numbers.update({f"{split}_{metric}": value for metric, value in scores.items()})
    return {
        f"final/{name}": float(value)
        for name, value in numbers.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _best(run: RunFolder) -> Path | None:
    try:
        return run.checkpoint("best")
    except RunError:
        return None
