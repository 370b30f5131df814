"""What every tracker can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar


class Tracker:
    """Takes rows of metrics, and what a run begins and ends with. Who inherits it takes only what it overrides.

    One that has a place for histograms of the weights also has `record_histograms`, see `histograms.ShowsHistograms`.

    Attributes:
        errors: What it raises when its disk or its server fails.
    """

    errors: ClassVar[tuple[type[Exception], ...]] = ()

    def log_metrics(self, row: Mapping[str, float], step: int) -> None:
        """Record values by name, after so many optimizer steps."""

    def record_start(self, settings: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Record all settings, and code, versions and hardware: dotted names with plain values."""

    def record_end(self, scores: Mapping[str, float], images: Sequence[Path], checkpoint: Path | None) -> None:
        """Record what came out: final numbers, PNGs, the best checkpoint."""

    def close(self, status: str) -> None:
        """End the record: `finished`, `fast_dev_run`, `interrupted` or `failed`. A second time does nothing."""
