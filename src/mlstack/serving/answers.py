"""A model's numbers as the JSON that clients get, by task."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mlstack.serving.messages import Response

POSITIVE = 0.5  # probability from which on a label counts as given, as in the metrics
# Numbers up to which lists are faster than NumPy, whose sorting also gives the interpreter's lock away: on the event
# loop every such moment lets a model's thread in, and the loop waits.
FEW = 64

Prediction = dict[str, Any]


def predictions(task: str, output: NDArray[np.float32], classes: Sequence[str], top_k: int) -> list[Prediction]:
    """One prediction for each picture.

    Args:
        task: Of the bundle.
        output: float32 [n, answer].
        classes: Names of its columns.
        top_k: Most entries listed for a picture; of a regression all are.

    Returns:
        classification: `{"class", "index", "confidence", "probabilities": {name: probability}}`, most probable first;
        multilabel: `{"labels", "confidence", "probabilities"}`; regression: `{"values": {name: value}}`.
    """
    return BY_TASK[task](output, classes, top_k)


def confidence(task: str, output: NDArray[np.float32]) -> float | None:
    """How sure the model is, averaged over pictures, 0 to 1; None of a regression, and where it answered NaN."""
    if task == "regression":
        return None
    sure = np.maximum(output, 1 - output).ravel() if task == "multilabel" else output.max(axis=1)
    mean = float(sure.sum(dtype=np.float64)) / len(sure)
    return mean if math.isfinite(mean) else None


def winners(task: str, output: NDArray[np.float32]) -> tuple[int, ...]:
    """The predicted class of each picture; of other tasks nothing."""
    if task != "classification":
        return ()
    few = _few(output)
    return tuple(output.argmax(axis=1).tolist()) if few is None else tuple(row.index(max(row)) for row in few)


def now() -> str:
    """The time, ISO 8601 in UTC with milliseconds: 2026-11-02T10:00:00.000Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def json_response(value: Any) -> Response:
    """A response with a value as JSON; NaN and infinity become null."""
    return Response(body=orjson.dumps(value))


def _classification(output: NDArray[np.float32], classes: Sequence[str], top_k: int) -> list[Prediction]:
    rows = []
    for row, order in zip(output.tolist(), _best(output, top_k), strict=True):
        first = order[0]
        rows.append(
            {
                "class": classes[first],
                "index": first,
                "confidence": row[first],
                "probabilities": {classes[place]: row[place] for place in order},
            }
        )
    return rows


def _multilabel(output: NDArray[np.float32], classes: Sequence[str], top_k: int) -> list[Prediction]:
    rows = []
    for row, order in zip(output.tolist(), _best(output, top_k), strict=True):
        rows.append(
            {
                "labels": [name for name, value in zip(classes, row, strict=True) if value >= POSITIVE],
                "confidence": sum(max(value, 1 - value) for value in row) / len(row),
                "probabilities": {classes[place]: row[place] for place in order},
            }
        )
    return rows


def _regression(output: NDArray[np.float32], classes: Sequence[str], top_k: int) -> list[Prediction]:
    return [{"values": dict(zip(classes, row, strict=True))} for row in output.tolist()]


def _best(output: NDArray[np.float32], top_k: int) -> list[list[int]]:
    """For each row the columns of its greatest values, greatest first; of equal ones the first, NaN behind them all."""
    few = _few(output)
    if few is not None:
        return [sorted(range(len(row)), key=row.__getitem__, reverse=True)[:top_k] for row in few]
    negated = -output
    count = min(top_k, output.shape[1])
    if count < output.shape[1] // 8:  # sorting a thousand classes costs more than finding five of them
        return [_best_of_many(row, count).tolist() for row in negated]
    best: list[list[int]] = np.argsort(negated, axis=1, kind="stable")[:, :count].tolist()
    return best


def _few(output: NDArray[np.float32]) -> list[list[float]] | None:
    """Rows as lists, where they are few and all are numbers: Python's order knows no NaN."""
    if output.size > FEW:
        return None
    rows: list[list[float]] = output.tolist()
    return None if any(math.isnan(sum(row)) for row in rows) else rows


def _best_of_many(negated: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    last = np.partition(negated, count - 1)[count - 1]
    among = np.flatnonzero(~(negated > last))
    return among[np.argsort(negated[among], kind="stable")[:count]]


BY_TASK: dict[str, Callable[[NDArray[np.float32], Sequence[str], int], list[Prediction]]] = {
    "classification": _classification,
    "multilabel": _multilabel,
    "regression": _regression,
}
