"""Predictions of new pictures as rows, CSV, JSON and lines for the terminal: one row a picture.

classification  file, class, its index and confidence, and the likeliest classes with their probabilities
multilabel      file, the labels that apply, and the probability of every label
regression      file, and the value of every target

A frame of a video also has its number and its second, after the file.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.metrics import decided, top_k
from mlstack.reports.numbers import short_number
from mlstack.reports.tables import table

JOINT = "|"  # between the labels of a picture in CSV and in the terminal
COLUMNS_PRINTED = 6  # targets in the terminal

PLACE = ("frame", "seconds")  # of a video

Row = dict[str, Any]
Cells = tuple[list[str], list[list[str]]]  # names of the columns after the file, and those columns of each row


def prediction_rows(
    task: str, paths: Sequence[str | Path], outputs: NDArray[np.floating], names: Sequence[str], *, k: int
) -> list[Row]:
    """One row a picture, with `file` and what this module's first lines say.

    Args:
        task: `data.task`.
        paths: The pictures [n].
        outputs: float [n, class], [n, label] or [n, target]: see `Predictions`.
        names: Names of the classes, labels or targets.
        k: Classes to list, the likeliest first; for classification only.
    """
    if task == "classification":
        return _class_rows(paths, outputs, names, k=k)
    rows = (dict(zip(names, map(float, row), strict=True)) for row in outputs)
    if task == "regression":
        return [{"file": str(path), "values": row} for path, row in zip(paths, rows, strict=True)]
    chosen = ([name for name, applies in zip(names, row, strict=True) if applies] for row in decided(outputs))
    return [
        {"file": str(path), "labels": labels, "probabilities": row}
        for path, row, labels in zip(paths, rows, chosen, strict=True)
    ]


def frame_rows(rows: Sequence[Row], numbers: Sequence[int], seconds: Sequence[float]) -> list[Row]:
    """Rows of `prediction_rows` with the place in a video: frame, from 0, and seconds, to the millisecond."""
    return [
        {"file": row["file"], "frame": number, "seconds": round(second, 3), **row}
        for row, number, second in zip(rows, numbers, seconds, strict=True)
    ]


def _class_rows(
    paths: Sequence[str | Path], probabilities: NDArray[np.floating], classes: Sequence[str], *, k: int
) -> list[Row]:
    likeliest = top_k(probabilities, min(k, len(classes)))  # [n, k]
    return [
        {
            "file": str(path),
            "class": classes[best[0]],
            "index": int(best[0]),
            "confidence": float(row[best[0]]),
            "probabilities": {classes[index]: float(row[index]) for index in best},
        }
        for path, row, best in zip(paths, probabilities, likeliest, strict=True)
    ]


def as_json(rows: Sequence[Row]) -> str:
    """Rows as a JSON list."""
    return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"


def as_csv(task: str, rows: Sequence[Row], *, header: bool = True) -> str:
    """Rows as CSV.

    classification: file, class, confidence, then class_2, confidence_2, …; multilabel: file, labels (joined by |), then
    a probability a label; regression: file, then a value a target. Of a video, frame and seconds after the file.

    Args:
        task: `data.task`.
        rows: At least one.
        header: Whether the names of the columns come first.
    """
    text = io.StringIO()
    names, cells = _CELLS[task](rows)
    where = ["file", *(name for name in PLACE if name in rows[0])]
    lines = [[str(row[name]) for name in where] + line for row, line in zip(rows, cells, strict=True)]
    csv.writer(text, lineterminator="\n").writerows([[*where, *names], *lines] if header else lines)
    return text.getvalue()


def _class_cells(rows: Sequence[Row]) -> Cells:
    ranks = range(2, len(rows[0]["probabilities"]) + 1)
    more = (f"{name}_{rank}" for rank in ranks for name in ("class", "confidence"))
    pairs = ([cell for name, value in row["probabilities"].items() for cell in (name, f"{value:.6f}")] for row in rows)
    return ["class", "confidence", *more], list(pairs)


def _label_cells(rows: Sequence[Row]) -> Cells:
    said = [[JOINT.join(row["labels"]), *(f"{value:.6f}" for value in row["probabilities"].values())] for row in rows]
    return ["labels", *rows[0]["probabilities"]], said


def _value_cells(rows: Sequence[Row]) -> Cells:
    return [*rows[0]["values"]], [[f"{value:.7g}" for value in row["values"].values()] for row in rows]


_CELLS = {"classification": _class_cells, "multilabel": _label_cells, "regression": _value_cells}


def printed(task: str, rows: Sequence[Row]) -> str:
    """A line a picture for the terminal; of many targets the first six."""
    if task == "classification":
        return "\n".join(f"{row['confidence']:6.1%}  {row['class']}  {_where(row)}" for row in rows)
    if task == "multilabel":
        return "\n".join(f"{JOINT.join(row['labels']) or '(none)'}  {_where(row)}" for row in rows)
    names = list(rows[0]["values"])[:COLUMNS_PRINTED]
    return table(
        [*names, "file"], [[*(short_number(row["values"][name]) for name in names), _where(row)] for row in rows]
    )


def _where(row: Row) -> str:
    """The file, and of a video which frame of it."""
    return f"{row['file']}, {frame_name(row)}" if "frame" in row else str(row["file"])


def frame_name(row: Row) -> str:
    """A row's place in a video, for people: `frame 120, 4.0 s`."""
    return f"frame {row['frame']}, {row['seconds']:.1f} s"
