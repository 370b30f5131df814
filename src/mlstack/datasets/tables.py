"""CSV files as rows of text: UTF-8, with commas, semicolons or tabs; what can't be read ends in one message."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlstack.datasets.folders import Problems
from mlstack.errors import DataError

DELIMITERS = (",", ";", "\t")
TABLE_HINT = "its first line names the columns: file,price, and each other line is a picture: photos/1.jpg,120"


@dataclass(frozen=True)
class Table:
    """A CSV's cells, without the spaces around them.

    Attributes:
        path: The file.
        columns: Names, each once, in the order of the file.
        rows: The cells of each row, as many as there are columns.
        lines: Where each row ends in the file, counted from 1, for messages.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def column(self, name: str) -> list[str]:
        """The cells of one column."""
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


def read_table(path: Path) -> Table:
    """Read a CSV; the delimiter is the one that divides its first line into the most columns.

    Raises:
        DataError: No such file, not UTF-8, no rows, columns without a name or with the same one, uneven rows.
    """
    text = _text(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=lambda sign: len(next(csv.reader([first], delimiter=sign), [])))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        numbered = [(reader.line_num, tuple(map(str.strip, cells))) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV: line {reader.line_num}: {error}", hint=TABLE_HINT) from error
    numbered = [(line, cells) for line, cells in numbered if any(cells)]
    if len(numbered) < 2:
        raise DataError(f"{path} has no rows" if numbered else f"{path} is empty", hint=TABLE_HINT)
    (_, columns), *body = numbered
    columns, rows = _without_trailing(columns, [cells for _, cells in body])
    table = Table(path, columns, tuple(rows), tuple(line for line, _ in body))
    _check_shape(table)
    return table


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 (byte {error.start + 1})"
        raise DataError(message, hint='save it as "CSV UTF-8", as spreadsheets call it') from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}", hint="data.table names a CSV file") from error


def _without_trailing(
    columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Drop empty cells beyond the last named column: spreadsheets like to add delimiters."""
    width = max(place + 1 for place, name in enumerate(columns) if name)
    return columns[:width], [cells[:width] if not any(cells[width:]) else cells for cells in rows]


def _check_shape(table: Table) -> None:
    if "" in table.columns:
        place = table.columns.index("") + 1
        raise DataError(f"{table.path} has no name for its column {place}", hint=TABLE_HINT)
    twice = sorted({name for name in table.columns if table.columns.count(name) > 1})
    if twice:
        raise DataError(f"{table.path} has two columns of the name {', '.join(twice)}", hint="rename one of them")
    problems = Problems()
    for line, cells in zip(table.lines, table.rows, strict=True):
        if len(cells) != len(table.columns):
            kind = f"rows that have not {len(table.columns)} cells as the first line has"
            problems.add(kind, f"line {line} has {len(cells)}")
    problems.refuse(table.path, {})
