"""From a table's cells to labels: class names, 0/1 columns, lists of labels, numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mlstack.datasets.base import Labels
from mlstack.datasets.folders import Problems
from mlstack.datasets.tables import Table
from mlstack.errors import ConfigError, DataError

SEPARATOR = "|"  # between the labels of one cell
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Targets:
    """What a table gives to learn.

    Attributes:
        labels: int64 [n], or float32 [n, label or target].
        names: Of the classes, labels or targets.
    """

    labels: Labels
    names: tuple[str, ...]


def read_targets(table: Table, columns: Sequence[str], *, task: str, problems: Problems) -> Targets:
    """Turn the chosen columns into labels; cells that can't be turned are added to `problems`.

    Args:
        table: The table.
        columns: The columns to learn, at least one.
        task: classification takes one column of class names. multilabel takes columns of 0 and 1, or one column of
            labels with | between them, in which an empty cell has none. regression takes columns of numbers.
        problems: Where mistakes are collected, each with its line.

    Raises:
        ConfigError: Several columns for a classification.
        DataError: Less than two classes, or no label at all.
    """
    if task == "classification":
        return _classes(table, columns, problems)
    if task == "multilabel" and len(columns) == 1 and not set(table.column(columns[0])) <= {"0", "1"}:
        return _label_lists(table, columns[0])
    read = _number if task == "regression" else _zero_or_one
    labels = [_column(table, name, read, problems) for name in columns]
    return Targets(np.array(labels, np.float32).T.copy(), tuple(columns))


def _classes(table: Table, columns: Sequence[str], problems: Problems) -> Targets:
    if len(columns) > 1:
        message = f"data.task=classification learns one column, {table.path} has {len(columns)}: {', '.join(columns)}"
        hint = f"name one: 'data.targets=[{columns[0]}]', or learn all: data.task=multilabel or data.task=regression"
        raise ConfigError(message, key="data.targets", hint=hint)
    cells = table.column(columns[0])
    for line, cell in zip(table.lines, cells, strict=True):
        if not cell:
            problems.add("empty cells", f"line {line}, {columns[0]}")
    names = _in_order(cell for cell in cells if cell)
    if len(names) > len(cells) / 2 and all(map(_is_number, names)) and any("." in name for name in names):
        message = f"column {columns[0]} of {table.path} holds numbers such as {names[0]}, not names of classes"
        raise DataError(message, hint="to learn numbers: data.task=regression")
    if len(names) == 1:
        raise DataError(f"column {columns[0]} of {table.path} has one class only ({names[0]}), at least 2 are needed")
    places = {name: place for place, name in enumerate(names)}
    return Targets(np.array([places.get(cell, 0) for cell in cells], np.int64), names)


def _label_lists(table: Table, column: str) -> Targets:
    """float32 [n, label] of cells like `red|round`."""
    lists = [[label.strip() for label in cell.split(SEPARATOR) if label.strip()] for cell in table.column(column)]
    names = _in_order(label for labels in lists for label in labels)
    if not names:
        raise DataError(f"column {column} of {table.path} has no labels", hint="a cell lists them as red|round")
    places = {name: place for place, name in enumerate(names)}
    vectors = np.zeros((len(lists), len(names)), np.float32)
    for row, labels in enumerate(lists):
        vectors[row, [places[label] for label in labels]] = 1
    return Targets(vectors, names)


def _column(table: Table, name: str, read: Callable[[str], float | None], problems: Problems) -> list[float]:
    """The cells of a column as numbers, 0 for what is none."""
    numbers: list[float] = []
    for line, cell in zip(table.lines, table.column(name), strict=True):
        number = read(cell) if cell else None
        if not cell:
            problems.add("empty cells", f"line {line}, {name}")
        elif number is None:
            problems.add("not a number" if read is _number else "neither 0 nor 1", f"line {line}, {name}: {cell[:20]}")
        numbers.append(number or 0.0)
    return numbers


def _number(cell: str) -> float | None:
    """A number that float32 can hold; NaN and Python's 1_000 are none."""
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if "_" not in cell and abs(number) <= LARGEST else None


def _zero_or_one(cell: str) -> float | None:
    number = _number(cell)
    return number if number in (0, 1) else None


def _is_number(cell: str) -> bool:
    return _number(cell) is not None


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once: in the order of the numbers where all are whole ones, else of the alphabet."""
    found = set(names)
    return tuple(sorted(found, key=int if all(name.isdecimal() for name in found) else str))
