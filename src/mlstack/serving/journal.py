"""The request journal: a sample of pictures, answers and true labels on the disk, to train from again.

    python scripts/serve.py serve.journal.folder=journal serve.journal.fraction=0.1
    python scripts/train.py data=journal data.path=journal

Which requests are kept follows from their ids, so a label that comes later finds its picture without a list of them,
and the same requests sent again are the same sample. What the files look like stands in `utils/journal_files.py`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.metadata import Metadata
from mlstack.errors import OutputError
from mlstack.serving.background import Background
from mlstack.serving.journal_segment import SegmentWriter
from mlstack.serving.logs import utc_now
from mlstack.utils.journal_files import LOCK, Kind, segments, share

LOG = logging.getLogger("mlstack.serving.journal")
SEGMENTS = 16  # about so many make up the whole; the oldest goes as one piece
WAITING_BYTES = 16 << 20  # pictures that may wait to be written
LABEL_BYTES = 65_536  # of one feedback
RETRY_S = 5.0  # after a write that failed (a full disk) nothing is tried for so long
DELETED = ".deleted-"


@dataclass(frozen=True)
class _Answer:
    request_id: str
    at: str
    model: str
    version: str
    kind: Kind
    images: NDArray[np.uint8]
    outputs: NDArray[np.float32]


@dataclass(frozen=True)
class _Feedback:
    request_id: str
    at: str
    labels: Sequence[Any]


class Journal:
    """Writes the journal. Nothing here waits for the disk but `close`, which waits for what is queued.

    Args:
        folder: The journal, which only one server at a time may write.
        fraction: Share of the requests that is kept, 0 to 1.
        max_bytes: Of all its files; the oldest segments are deleted.
        clock: Seconds; never goes back.
        waiting_bytes: Pictures that may wait to be written; beyond that they are dropped and counted.

    Raises:
        OutputError: The folder can't be written, or another server writes it.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        fraction: float,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        waiting_bytes: int = WAITING_BYTES,
    ) -> None:
        self._folder = Path(folder)
        self._fraction = fraction
        self._max_bytes = max_bytes
        self._clock = clock
        self._current: SegmentWriter | None = None
        self._order = self._written = self._lost = self._closed_bytes = 0
        self._retry_at = 0.0
        self._lock = _locked(self._folder)
        self._closed: deque[tuple[Path, int]] = deque()
        self._next = 1
        for number, path in segments(self._folder):
            self._add_closed(path, _size(path))
            self._next = number + 1
        for leftover in self._folder.glob(f"{DELETED}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        self._make_room(0)
        self._queue: Background[_Answer | _Feedback] = Background(self._work, name="journal", capacity=waiting_bytes)

    def keeps(self, request_id: str) -> bool:
        """Whether this request belongs to the sample."""
        return share(request_id, "journal") < self._fraction

    def record(
        self,
        request_id: str,
        model: str,
        metadata: Metadata,
        images: NDArray[np.uint8],
        outputs: NDArray[np.float32],
    ) -> bool:
        """Keep a request if it belongs to the sample; whether it was taken.

        Args:
            request_id: Of the request.
            model: Label of the model that answered.
            metadata: Of its bundle.
            images: uint8 [n, height, width, channel], as the model saw them; not to be changed afterwards.
            outputs: float32 [n, answer]; not to be changed afterwards.
        """
        if not self.keeps(request_id) or not len(images):
            return False
        height, width, channels = images.shape[1:]
        kind = Kind(height, width, channels, metadata.task, metadata.classes)
        answer = _Answer(request_id, utc_now(), model, metadata.version, kind, images, outputs)
        return self._queue.put(answer, images.nbytes + outputs.nbytes)

    def feedback(self, request_id: str, labels: Sequence[Any]) -> bool:
        """Keep true labels if the request belongs to the sample; whether they were taken.

        Args:
            request_id: Of the request that they are about.
            labels: One for each picture, or None; `journal_files.check_label` says what it is, and is asked before.
        """
        if not self.keeps(request_id):
            return False
        return self._queue.put(_Feedback(request_id, utc_now(), tuple(labels)), LABEL_BYTES >> 4)

    def close(self, seconds: float = 10.0) -> None:
        """Write what waits and let go of the folder."""
        if self._lock < 0:
            return
        if self._queue.close(seconds):
            self._close_segment()
            os.close(self._lock)
            self._lock = -1

    def status(self) -> dict[str, Any]:
        """Where it is, what it takes, and how many records were written, dropped (no room in the queue) and lost."""
        return {
            "folder": str(self._folder),
            "bytes": self.bytes,
            "written": self._written,
            "dropped": self._queue.refused,
            "lost": self._lost,
        }

    @property
    def bytes(self) -> int:
        """Of all its files."""
        current = self._current
        return self._closed_bytes + (current.bytes if current else 0)

    def _work(self, items: list[_Answer | _Feedback]) -> None:
        for item in items:
            if self._clock() < self._retry_at:
                self._lost += 1
                continue
            try:
                self._write(item)
            except OSError as error:
                self._fail(error)

    def _write(self, item: _Answer | _Feedback) -> None:
        if isinstance(item, _Answer):
            size, most = _most_bytes(item), self._max_bytes // 2
        else:
            fields = {"request_id": item.request_id, "labels": item.labels, "at": item.at, "order": self._order}
            line = json.dumps(fields).encode() + b"\n"
            size, most = len(line), min(LABEL_BYTES, self._max_bytes // 2)
        if size > most:
            self._lost += 1
            LOG.warning("%s is too large for the journal: %d bytes of %d", item.request_id, size, most)
            return
        segment = self._segment(size)
        if isinstance(item, _Answer):
            who = {"request_id": item.request_id, "at": item.at, "model": item.model, "version": item.version}
            segment.add_record({**who, "order": self._order}, item.kind, item.images, item.outputs)
        else:
            segment.add_labels(line)
        self._order += 1
        self._written += 1

    def _segment(self, size: int) -> SegmentWriter:
        """The segment that the next `size` bytes go to."""
        if self._current is not None and self._current.bytes + size > self._max_bytes // SEGMENTS:
            self._close_segment()
        self._make_room(size)
        if self._current is None:
            self._next += 1  # before it is made: a number that is taken is not tried again
            self._current = SegmentWriter(self._folder / f"segment-{self._next - 1:06d}")
        return self._current

    def _make_room(self, size: int) -> None:
        while self._closed and self.bytes + size > self._max_bytes:
            path, freed = self._closed.popleft()
            self._closed_bytes -= freed
            gone = path.with_name(f"{DELETED}{path.name}")
            with contextlib.suppress(OSError):  # somebody else has deleted it
                path.rename(gone)  # in one step: a reader finds all of it, or nothing
            shutil.rmtree(gone, ignore_errors=True)

    def _close_segment(self) -> None:
        if self._current is not None:
            segment, self._current = self._current, None
            self._add_closed(segment.folder, segment.bytes)
            segment.close()

    def _add_closed(self, folder: Path, size: int) -> None:
        self._closed.append((folder, size))
        self._closed_bytes += size

    def _fail(self, error: OSError) -> None:
        """Rows of a write that failed have no line: nothing may follow them in the same files."""
        self._lost += 1
        self._retry_at = self._clock() + RETRY_S
        LOG.error("the journal %s can't be written: %s; tried again in %g s", self._folder, error.strerror, RETRY_S)
        with contextlib.suppress(OSError):
            self._close_segment()


def _locked(folder: Path) -> int:
    """A descriptor that holds the journal's lock until it is closed or the process ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OutputError(
            f"serve.journal.folder={folder} can't be written: {error.strerror}", hint="choose another folder"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise OutputError(
            f"serve.journal.folder={folder} is written by another server", hint="give each server a folder of its own"
        ) from error
    return descriptor


def _most_bytes(answer: _Answer) -> int:
    """What a request can take at most: rows, its line, and kind.json where it is the first of its segment."""
    names = [6 * len(name) + 4 for name in answer.kind.classes]  # \uXXXX for each character
    line = 1024 + len(answer.images) * max(names)
    return answer.images.nbytes + answer.outputs.nbytes + line + sum(names)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
