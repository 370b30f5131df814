"""One segment of the journal while it is written: rows first, then the line that speaks of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mlstack.utils.journal_files import IMAGES, KIND, LABELS, OUTPUTS, RECORDS, Kind, checksum


class _Appended:
    """A new file that is only appended to, without a buffer: what was written survives the process."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("xb", buffering=0)

    def append(self, data: bytes) -> int:
        """Write all of `data`; its length. OSError: the disk is full, and a part of it may stand there."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        return len(data)

    def close(self) -> None:
        """Force it to the disk and let go of it."""
        with self._file:
            os.fsync(self._file.fileno())


class _KindFiles:
    """The rows and lines of one kind of pictures."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        folder.mkdir()
        self.rows = 0
        self.images, self.outputs, self.records = (_Appended(folder / name) for name in (IMAGES, OUTPUTS, RECORDS))
        text = kind.to_json().encode()
        self.head_bytes = len(text)
        unfinished = folder / f"{KIND}.part"
        unfinished.write_bytes(text)
        unfinished.rename(folder / KIND)


class SegmentWriter:
    """Makes a segment's folder and appends to its files.

    Args:
        folder: Which is not to be there yet.

    Attributes:
        folder: The same.
        bytes: Of its files.

    Raises:
        OSError: Here and in each method: the disk doesn't take it. Then the segment is to be closed.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.bytes = 0
        self._kinds: dict[Kind, _KindFiles] = {}
        self._labels: _Appended | None = None

    def add_record(
        self, fields: dict[str, Any], kind: Kind, images: NDArray[np.uint8], outputs: NDArray[np.float32]
    ) -> None:
        """Append the rows of a request, then its line.

        Args:
            fields: Of the line; which rows, their checksum and the predicted classes are added.
            kind: What the pictures are.
            images: uint8 [n, height, width, channel].
            outputs: float32 [n, answer].
        """
        if kind not in self._kinds:
            self._kinds[kind] = _KindFiles(self.folder / kind.name, kind)
            self.bytes += self._kinds[kind].head_bytes
        files = self._kinds[kind]
        rows, answers = images.tobytes(), np.ascontiguousarray(outputs, "<f4").tobytes()
        line = {**fields, "first": files.rows, "count": len(images), "crc": checksum(rows, answers)}
        if kind.task == "classification":
            line["predicted"] = [kind.classes[index] for index in outputs.argmax(axis=1)]
        self.bytes += files.images.append(rows)
        self.bytes += files.outputs.append(answers)
        files.rows += len(images)
        self.bytes += files.records.append(json.dumps(line).encode() + b"\n")

    def add_labels(self, line: bytes) -> None:
        """Append a line of true labels."""
        if self._labels is None:
            self._labels = _Appended(self.folder / LABELS)
        self.bytes += self._labels.append(line)

    def close(self) -> None:
        """Force everything to the disk; the segment never changes again."""
        files = [file for kind in self._kinds.values() for file in (kind.images, kind.outputs, kind.records)]
        first: OSError | None = None
        for file in [*files, *([self._labels] if self._labels else [])]:
            try:
                file.close()
            except OSError as error:
                first = first or error
        if first:
            raise first
