"""One line of the table, and how a part hands it over: as a line of JSON, on the disk before the next is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Status = Literal["ok", "skipped", "failed"]
LONGEST_REASON = 200  # letters of an error; the part's log has the rest


@dataclass(frozen=True)
class Row:
    """One figure, or why there is none.

    Attributes:
        name: What was measured.
        status: `ok`; `skipped`, as this machine lacks something; `failed`, as it raised.
        value: The figure; None where there is none.
        unit: Of the value; empty for texts and bare numbers.
        ratio: To `against`; None where nothing is compared.
        against: Name of what it is compared with.
        note: What else there is to say; the reason of a row that was skipped or failed.
        details: Further figures, for the JSON alone.
    """

    name: str
    status: Status
    value: float | str | None = None
    unit: str = ""
    ratio: float | None = None
    against: str = ""
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)


class Skipped(Exception):  # noqa: N818 - nothing went wrong
    """A row that can't be measured here, with the reason."""


class RowWriter:
    """Appends rows to a file.

    Args:
        path: The file, a row of JSON a line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, row: Row) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")

    def add(self, name: str, value: float | str | None, unit: str = "", **more: Any) -> None:
        """A figure; `more` are the other fields of `Row`."""
        self.write(Row(name, "ok", value, unit, **more))

    def skip(self, name: str, reason: str) -> None:
        self.write(Row(name, "skipped", note=reason))

    @contextmanager
    def attempt(self, name: str) -> Iterator[None]:
        """Let what goes wrong within the block cost this row alone."""
        try:
            yield
        except Skipped as reason:
            self.skip(name, str(reason))
        except Exception as error:  # noqa: BLE001 - out of memory, a CUDA error, another version's interface: the next row
            self.write(Row(name, "failed", note=reason_of(error)))


def reason_of(error: BaseException) -> str:
    """The kind of an error and the first line of its message."""
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first}"[:LONGEST_REASON]


def read_rows(path: Path) -> list[Row]:
    """The rows that are whole: of a part that was killed the last one may be half."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            rows.append(Row(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return rows
