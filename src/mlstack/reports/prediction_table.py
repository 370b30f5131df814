"""Predictions of new pictures as rows, CSV, JSON and lines for the terminal: one row a picture.

classification  file, class, its index and confidence, and the likeliest classes with their probabilities
multilabel      file, the labels that apply, and the probability of every label
regression      file, and the value of every target
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

Row = dict[str, Any]


def prediction_rows(
    task: str, paths: Sequence[Path], outputs: NDArray[np.floating], names: Sequence[str], *, k: int
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


def _class_rows(
    paths: Sequence[Path], probabilities: NDArray[np.floating], classes: Sequence[str], *, k: int
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


def as_csv(task: str, rows: Sequence[Row]) -> str:
    """Rows as CSV.

    classification: file, class, confidence, then class_2, confidence_2, …; multilabel: file, labels (joined by |), then
    a probability a label; regression: file, then a value a target.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_CELLS[task](rows))
    return text.getvalue()


def _class_cells(rows: Sequence[Row]) -> list[list[str]]:
    ranks = range(2, len(rows[0]["probabilities"]) + 1)
    more = (f"{name}_{rank}" for rank in ranks for name in ("class", "confidence"))
    cells = [["file", "class", "confidence", *more]]
    for row in rows:
        pairs = [cell for name, value in row["probabilities"].items() for cell in (name, f"{value:.6f}")]
        cells.append([row["file"], *pairs])
    return cells


def _label_cells(rows: Sequence[Row]) -> list[list[str]]:
    header = ["file", "labels", *rows[0]["probabilities"]]
    return [header] + [
        [row["file"], JOINT.join(row["labels"]), *(f"{value:.6f}" for value in row["probabilities"].values())]
        for row in rows
    ]


def _value_cells(rows: Sequence[Row]) -> list[list[str]]:
    header = ["file", *rows[0]["values"]]
    return [header] + [[row["file"], *(f"{value:.7g}" for value in row["values"].values())] for row in rows]


_CELLS = {"classification": _class_cells, "multilabel": _label_cells, "regression": _value_cells}


def printed(task: str, rows: Sequence[Row]) -> str:
    """A line a picture for the terminal; of many targets the first six."""
    if task == "classification":
        return "\n".join(f"{row['confidence']:6.1%}  {row['class']}  {row['file']}" for row in rows)
    if task == "multilabel":
        return "\n".join(f"{JOINT.join(row['labels']) or '(none)'}  {row['file']}" for row in rows)
    names = list(rows[0]["values"])[:COLUMNS_PRINTED]
    return table(
        [*names, "file"], [[*(short_number(row["values"][name]) for name in names), row["file"]] for row in rows]
    )
