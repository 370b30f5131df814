"""A table of predictions that is written as they come, however many: CSV or JSON, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from mlstack.errors import OutputError
from mlstack.reports.prediction_table import Row, as_csv


class PredictionFile:
    """A file that grows under a temporary name and gets its own when the `with` block ends without an exception.

    What it holds then is, byte for byte, what `as_csv` or `as_json` makes of all rows together.

    Args:
        path: The file, .csv or .json.
        task: `data.task`.

    Attributes:
        rows: How many it holds.

    Raises:
        OutputError: It can't be written.
    """

    def __init__(self, path: Path, task: str) -> None:
        self.path = path
        self.task = task
        self.rows = 0
        self._is_json = path.suffix.lower() == ".json"
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}")
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows, at least one; the folder and the file are made with the first."""
        texts = [textwrap.indent(json.dumps(row, indent=2, ensure_ascii=False), "  ") for row in rows]
        text = ",\n".join(texts) if self._is_json else as_csv(self.task, rows, header=self.rows == 0)
        opening = ("[\n" if self.rows == 0 else ",\n") if self._is_json else ""
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._temporary.open("w", encoding="utf-8", newline="")
            self._file.write(opening + text)
        except OSError as error:
            raise self._unwritable(error) from error
        self.rows += len(rows)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file is None:
            return
        try:
            if kind is None and self._is_json:
                self._file.write("\n]\n")
            self._file.close()
            if kind is None:
                self._temporary.replace(self.path)
        except OSError as failed:
            raise self._unwritable(failed) from failed
        finally:
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"{self.path} can't be written: {error.strerror or error}", hint="choose another path: output="
        )
