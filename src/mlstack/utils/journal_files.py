"""What a journal of requests looks like on the disk: written by the server, read by the data set.

    journal/
      .lock                              held by the server that writes
      segment-000001/                    a stretch of time; the oldest are deleted, none but the newest is written
        labels.jsonl                     true labels by request id; their pictures lie here or in an older segment
        8x8x1-1f40fc92da/                pictures of one shape, answered with one list of classes
          kind.json                      that shape, the task and the classes
          images.u8                      uint8 [n, height, width, channel], nothing else
          outputs.f32                    float32 [n, answer], little-endian, nothing else
          records.jsonl                  a line for each request: which rows are its, their CRC-32, who answered

A line is written after the rows that it speaks of. So whatever a process that was killed leaves behind, each whole
line holds; rows without a line, and a line without its end, are passed over.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
LOCK, KIND, IMAGES, OUTPUTS, RECORDS, LABELS = (
    ".lock", "kind.json", "images.u8", "outputs.f32", "records.jsonl", "labels.jsonl",
)  # fmt: skip
SEGMENT = re.compile(r"segment-(\d{6,})")
TASKS = ("classification", "multilabel", "regression")


@dataclass(frozen=True)
class Kind:
    """Pictures that can be learnt from together.

    Attributes:
        height: In pixels.
        width: In pixels.
        channels: 1 = grey, 3 = RGB.
        task: One of `TASKS`.
        classes: Names of classes, labels or targets, in the order of the outputs' columns.
    """

    height: int
    width: int
    channels: int
    task: str
    classes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of its folder: the shape, and ten digits that stand for task and classes."""
        digest = hashlib.sha256(json.dumps([self.task, *self.classes]).encode()).hexdigest()
        return f"{self.height}x{self.width}x{self.channels}-{digest[:10]}"

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels

    @property
    def image_bytes(self) -> int:
        return self.height * self.width * self.channels

    @property
    def output_bytes(self) -> int:
        return 4 * len(self.classes)

    def to_json(self) -> str:
        """The text of kind.json."""
        return json.dumps({"format": FORMAT, **asdict(self)}) + "\n"


@dataclass(frozen=True)
class Record:
    """A request in the journal.

    Attributes:
        request_id: Of the request.
        at: When it was answered, ISO 8601 in UTC.
        model: Label of the model that answered.
        version: Of the model.
        kind: What its pictures are.
        folder: Where the files with its rows lie.
        first: Its first row.
        count: Its pictures, a row each.
        crc: CRC-32 of its rows of images.u8, then of outputs.f32.
        order: Segment and place in it: of two with the same request id, the greater is the newer.
    """

    request_id: str
    at: str
    model: str
    version: str
    kind: Kind
    folder: Path
    first: int
    count: int
    crc: int
    order: tuple[int, int]

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]] | None:
        """Its pictures, uint8 [count, height, width, channel], and the outputs, float32 [count, answer].

        None where the rows are not what was written, or not there any more.
        """
        kind = self.kind
        images = _rows(self.folder / IMAGES, self.first, self.count, kind.image_bytes)
        outputs = _rows(self.folder / OUTPUTS, self.first, self.count, kind.output_bytes)
        if images is None or outputs is None or checksum(images, outputs) != self.crc:
            return None
        pictures = np.frombuffer(images, np.uint8).reshape(self.count, *kind.shape)
        return pictures, np.frombuffer(outputs, "<f4").reshape(self.count, len(kind.classes)).astype(np.float32)


@dataclass(frozen=True)
class Labelled:
    """True labels of a request: for each picture the client's own value, or None where it said nothing."""

    request_id: str
    labels: tuple[Any, ...]
    order: tuple[int, int]


def share(request_id: str, purpose: str) -> float:
    """A number from 0 to below 1 that a request id always gets, another one for each purpose."""
    digest = hashlib.blake2b(f"{purpose}\0{request_id}".encode(errors="replace"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


def checksum(images: bytes, outputs: bytes) -> int:
    """What a record's line says of its rows."""
    return zlib.crc32(outputs, zlib.crc32(images))


def check_label(label: Any, *, task: str, classes: tuple[str, ...]) -> int | tuple[float, ...]:
    """A true label as it is learnt: the index of a class; 0 or 1 for each label; or a number for each target.

    Args:
        label: A class's name; a list of labels' names; or numbers in the order of the targets, a mapping of their
            names, or one number where there is one target.
        task: One of `TASKS`.
        classes: The model's.

    Raises:
        ValueError: It is nothing of the kind; the message is one line for whoever sent it.
    """
    if task == "classification":
        if not isinstance(label, str) or label not in classes:
            raise ValueError(f"{_shown(label)} is not one of the classes {_listed(classes)}")
        return classes.index(label)
    if task == "multilabel":
        if not isinstance(label, list | tuple) or not all(isinstance(name, str) and name in classes for name in label):
            raise ValueError(f"{_shown(label)} is not a list of labels out of {_listed(classes)}")
        return tuple(float(name in label) for name in classes)
    values = [label.get(name) for name in classes] if isinstance(label, Mapping) else label
    values = values if isinstance(values, list | tuple) else [values]
    if len(values) != len(classes) or not all(_is_number(value) for value in values):
        raise ValueError(f"{_shown(label)} is not a number for each of {_listed(classes)}")
    return tuple(float(value) for value in values)


def segments(folder: Path) -> list[tuple[int, Path]]:
    """The segments of a journal with their numbers, the oldest first."""
    found = [(match, path) for path in folder.iterdir() if (match := SEGMENT.fullmatch(path.name))]
    return sorted((int(match[1]), path) for match, path in found)


def read_records(folder: Path) -> Iterator[Record]:
    """Every whole record of a journal, in the order of writing within a kind; a server may write meanwhile."""
    for number, segment in segments(folder):
        for place in sorted(segment.glob(f"*/{KIND}")) if segment.is_dir() else ():
            if kind := _read_kind(place):
                yield from _records(place.parent, kind, number)


def read_labels(folder: Path) -> Iterator[Labelled]:
    """Every true label of a journal, in the order in which they came."""
    for number, segment in segments(folder):
        for line in _lines(segment / LABELS):
            match line:
                case {"request_id": str(request_id), "labels": list(labels), "order": int(order)}:
                    yield Labelled(request_id, tuple(labels), (number, order))


def _records(folder: Path, kind: Kind, number: int) -> Iterator[Record]:
    for line in _lines(folder / RECORDS):
        try:
            texts = {name: str(line[name]) for name in ("request_id", "at", "model", "version")}
            first, count, crc, order = (int(line[name]) for name in ("first", "count", "crc", "order"))
        except (KeyError, TypeError, ValueError):
            continue
        if first >= 0 and count > 0:
            yield Record(**texts, kind=kind, folder=folder, first=first, count=count, crc=crc, order=(number, order))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; a last line without its end, and whatever is no object, is passed over."""
    try:
        text = path.read_bytes()
    except OSError:  # deleted meanwhile, or never begun
        return
    for line in text.split(b"\n")[:-1]:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def _read_kind(path: Path) -> Kind | None:
    try:
        value = json.loads(path.read_bytes())
        if value.pop("format") != FORMAT or value["task"] not in TASKS:
            return None
        return Kind(**{**value, "classes": tuple(value["classes"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _rows(path: Path, first: int, count: int, size: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            file.seek(first * size)
            data = file.read(count * size)
    except (OSError, OverflowError):
        return None
    return data if len(data) == count * size else None


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _shown(label: Any) -> str:
    text = json.dumps(label, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def _listed(classes: tuple[str, ...]) -> str:
    return ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
