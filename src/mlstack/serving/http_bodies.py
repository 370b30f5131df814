"""Put a request's body together from what the network brings."""

from __future__ import annotations

import re
from typing import Protocol

from mlstack.serving.problems import bad_request, too_large

MAX_LINE = 256  # bytes of a chunk's size with its extensions, which nobody sends
MAX_TRAILERS = 8192  # bytes; they are read and thrown away
SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")


class Body(Protocol):
    """A body in the making.

    Attributes:
        content: What has come so far.
        complete: All has come.
    """

    content: bytearray
    complete: bool

    def feed(self, data: bytes) -> bytes:
        """Take what has come; answers what belongs to the next request."""


class SizedBody:
    """A body whose length is known.

    Args:
        length: In bytes.
        keep: False = count the bytes, and throw them away.
    """

    def __init__(self, length: int, *, keep: bool) -> None:
        self.content = bytearray()
        self.complete = False
        self._missing = length
        self._keep = keep

    def feed(self, data: bytes) -> bytes:
        rest = data[self._missing :]
        self._missing -= len(data) - len(rest)
        self.complete = self._missing == 0
        if self._keep:
            self.content += data if not rest else data[: len(data) - len(rest)]
        return rest


class ChunkedBody:
    """A body that comes in chunks (https://www.rfc-editor.org/rfc/rfc9112#section-7.1).

    Args:
        max_bytes: Of the body.
    """

    def __init__(self, max_bytes: int) -> None:
        self.content = bytearray()
        self.complete = False
        self._max_bytes = max_bytes
        self._left = 0  # bytes of the chunk that is being read
        self._line = b""  # a line whose end has not come yet
        self._after_data = False  # CR LF has to follow
        self._trailers = -1  # bytes of trailers read; -1 = the last chunk has not come

    def feed(self, data: bytes) -> bytes:
        """Take what has come; answers what belongs to the next request.

        Raises:
            Problem: 400: no valid chunk. 413: more than `max_bytes`.
        """
        at = 0
        if self._line:
            data, self._line = self._line + data, b""
        while at < len(data) and not self.complete:
            if self._left:
                part = data[at : at + self._left]
                self.content += part
                self._left -= len(part)
                at += len(part)
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                self._line = data[at:]
                self._check_open_line()
                return b""
            self._take_line(data[at:end])
            at = end + 2
        return data[at:]

    def _check_open_line(self) -> None:
        longest = MAX_LINE if self._trailers < 0 else MAX_TRAILERS
        if len(self._line) > longest or b"\n" in self._line or (self._after_data and self._line != b"\r"):
            raise bad_request("no valid chunk of a body")

    def _take_line(self, line: bytes) -> None:
        if self._trailers >= 0:
            self._trailers += len(line)
            self.complete = not line
            if self._trailers > MAX_TRAILERS or b"\n" in line or b"\r" in line or b"\0" in line:
                raise bad_request("no valid trailers after the last chunk")
        elif self._after_data:
            if line:
                raise bad_request("a chunk is longer than its size says")
            self._after_data = False
        else:
            self._begin_chunk(line)

    def _begin_chunk(self, line: bytes) -> None:
        size = SIZE.fullmatch(line) if len(line) <= MAX_LINE else None
        if size is None:
            raise bad_request("a chunk begins with its size in hexadecimal digits")
        self._left = int(size[1], 16)
        if self._left == 0:
            self._trailers = 0
        elif len(self.content) + self._left > self._max_bytes:
            raise too_large(f"the body is larger than {self._max_bytes} bytes")
        else:
            self._after_data = True
