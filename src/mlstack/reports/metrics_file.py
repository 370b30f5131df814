"""Reading metrics.csv, the log of a run: points over the optimizer steps, for each column those that were logged."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.errors import RunError


@dataclass(frozen=True)
class Points:
    """The logged values of one column; all arrays [point].

    Attributes:
        epochs: int64, as logged.
        steps: int64, optimizer steps.
        values: float64; NaN and infinity as logged.
    """

    epochs: NDArray[np.int64]
    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.values)


def read_metrics(path: Path) -> dict[str, Points]:
    """The columns of metrics.csv besides `epoch` and `step`, in the file's order; empty cells are no points.

    Raises:
        RunError: The file is missing, can't be read, or holds what is not a number.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            names = [name for name in reader.fieldnames or () if name not in ("epoch", "step")]
            rows: dict[str, list[tuple[int, int, float]]] = {name: [] for name in names}
            for row in reader:
                _add(row, rows)
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RunError(f"{path} can't be read: {reason}", hint="is it the metrics.csv of a run folder?") from error
    return {name: _points(points) for name, points in rows.items()}


def _add(row: Mapping[str, str | None], rows: Mapping[str, list[tuple[int, int, float]]]) -> None:
    for name, points in rows.items():
        cell = row.get(name)
        if cell:  # None in a line that was cut off by a kill
            points.append((int(row["epoch"] or 0), int(row["step"] or 0), float(cell)))


def _points(points: list[tuple[int, int, float]]) -> Points:
    epochs, steps, values = zip(*points, strict=True) if points else ((), (), ())
    return Points(np.array(epochs, np.int64), np.array(steps, np.int64), np.array(values, np.float64))
