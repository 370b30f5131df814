"""One line of JSON on stderr for each request and event.

    {"at":"2026-11-22T10:00:00.123456Z","level":"info","event":"request","request_id":"…","status":200,"ms":4.1,…}

A thread writes them, so that a terminal or a pipe which nobody reads can't stop the service: lines that find no room
are dropped and counted, and the next line that is written says how many. No header and no API key is ever in a line.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

from mlstack.serving.background import Background

WAITING_BYTES = 4 << 20  # lines that may wait
LONGEST_TEXT = 4096  # characters of one value; a traceback gets TRACEBACK
TRACEBACK = 16_384
LOGGER = "mlstack.serving"

KEY = re.compile(rb"mls_[A-Za-z0-9_-]{4,}")  # what make_api_key.py makes, should a client put one where it is logged
OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
UNSEEN = re.compile(rb"\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")  # JSON lets these stand; terminals obey, editors break


class JsonLog:
    """Writes events as lines of JSON.

    Args:
        descriptor: Of the open file that gets them; 2 = stderr.
        waiting_bytes: Lines that may wait; those beyond are dropped.
    """

    def __init__(self, descriptor: int = 2, *, waiting_bytes: int = WAITING_BYTES) -> None:
        self._descriptor = descriptor
        self._said = 0
        self._handlers: list[_Handler] = []
        self._queue: Background[bytes] = Background(self._write, name="json_log", capacity=waiting_bytes)

    @property
    def dropped(self) -> int:
        """Lines that were not written, since the start."""
        return self._queue.refused

    def event(self, event: str, *, level: str = "info", **fields: Any) -> None:
        """Log something that happened, at once: about 5 µs.

        Args:
            event: One word: `request`, `model_loaded`, ….
            level: `info`, `warning` or `error`.
            **fields: Whatever JSON can hold; those that are None are left out.
        """
        line = _line({"at": datetime.now(UTC), "level": level, "event": event, **fields})
        self._queue.put(line, len(line))

    def capture(self, name: str = LOGGER) -> None:
        """Take over what Python's logger of that name, and those below it, are told; until `close`."""
        logger = logging.getLogger(name)
        handler = _Handler(self, logger)
        logger.addHandler(handler)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
        logger.propagate = False  # or Python's own last resort writes to a stderr that may be full
        self._handlers.append(handler)

    def close(self, seconds: float = 1.0) -> None:
        """Write what waits, as long as somebody reads it; after that events are dropped."""
        for handler in self._handlers:
            handler.detach()
        self._handlers.clear()
        self._queue.close(seconds)

    def _write(self, lines: list[bytes]) -> None:
        dropped = self.dropped
        if dropped > self._said:
            lines.append(
                _line(
                    {"at": datetime.now(UTC), "level": "warning", "event": "log_dropped", "lines": dropped - self._said}
                )
            )
            self._said = dropped
        text = memoryview(b"".join(lines))
        while text:
            try:
                text = text[os.write(self._descriptor, text) :]
            except BlockingIOError:  # somebody who shares the terminal made it so; it is full, not gone
                select.select([], [self._descriptor], [], 1.0)
            except OSError:  # whoever read along has left; the service goes on
                return


class _Handler(logging.Handler):
    """Passes what Python's logging is told on to a JsonLog."""

    def __init__(self, log: JsonLog, logger: logging.Logger) -> None:
        super().__init__()
        self._log = log
        self._logger = logger
        self._before = logger.level, logger.propagate

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):  # arguments that don't fit the text
            message = str(record.msg)
        fields = {"logger": record.name, "message": message}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = "".join(traceback.format_exception_only(record.exc_info[1])).strip()
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))[-TRACEBACK:]
        self._log.event("log", level=record.levelname.lower(), **fields)

    def detach(self) -> None:
        """Leave the logger as it was."""
        self._logger.removeHandler(self)
        self._logger.setLevel(self._before[0])
        self._logger.propagate = self._before[1]
        self.close()


def _line(fields: dict[str, Any]) -> bytes:
    """A line with its end. Whatever the values are, it is one line, and nothing in it moves a cursor."""
    kept = {name: value for name, value in fields.items() if value is not None}
    try:
        line = orjson.dumps(kept, option=OPTIONS)
    except TypeError:  # half of a surrogate pair, a number of hundreds of digits, an object
        line = _ascii(kept)
    if len(line) > LONGEST_TEXT and (short := {name: _short(name, value) for name, value in kept.items()}) != kept:
        return _line(short)
    if b"\x7f" in line or (not line.isascii() and UNSEEN.search(line)):
        line = _ascii(kept)
    return KEY.sub(b"mls_(hidden)", line) if b"mls_" in line else line


def _ascii(fields: dict[str, Any]) -> bytes:
    """The slow way, which takes anything and has no characters but those of ASCII."""
    return json.dumps(fields, default=_text, skipkeys=True).replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def _short(name: str, value: Any) -> Any:
    longest = TRACEBACK if name == "traceback" else LONGEST_TEXT
    return value[: longest - 1] + "…" if isinstance(value, str) and len(value) > longest else value


def _text(value: object) -> str:
    return value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else str(value)


def utc_now() -> str:
    """The time, to the millisecond: 2026-11-22T10:00:00.123Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
