"""Turn a response into the bytes that are sent."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus

from mlstack.serving.messages import Response

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NO_CONTENT = 204
NOT_MODIFIED = 304
MOST_MADE = 64  # sets of headers that are kept for the rest of a second: models have one each, refusals many

_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}
_DEFAULTS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_OURS = frozenset({"connection", "content-length", "content-type", "date", "transfer-encoding", "x-request-id"})
_UNSAFE = {code: " " for code in (*range(32), 127) if code != 9}


class Clock:
    """The headers that stand in every answer, the date among them, and those of models: made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._made: dict[tuple[tuple[str, str], ...], str] = {}

    def headers(self, own: tuple[tuple[str, str], ...]) -> str:
        """Date, security headers and the application's `own`, which come before the usual ones of the same name."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._made.clear()
        made = self._made.get(own)
        if made is None:
            made = _lines(second, own)
            if len(self._made) < MOST_MADE:
                self._made[own] = made
        return made


def encode_answer(response: Response, *, clock: Clock, request_id: str, connection: str, head_only: bool) -> bytes:
    """An answer as it goes over the wire.

    Args:
        response: What the application, or a refusal, says.
        clock: Makes the headers that all answers share.
        request_id: Sent as x-request-id.
        connection: `close`, or `keep-alive` where the client has to be told; empty = HTTP/1.1's rule.
        head_only: The request was HEAD: the length is told, the body is not sent.
    """
    status = response.status
    body = response.body
    lines = [_STATUS_LINES.get(status) or f"HTTP/1.1 {status:d} \r\n"]
    if status != NO_CONTENT and status != NOT_MODIFIED:
        kind = response.content_type
        if not kind.isprintable():
            kind = kind.translate(_UNSAFE)
        lines.append(f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n")
    else:
        head_only = True
    lines.append(clock.headers(response.headers))
    lines.append(f"x-request-id: {request_id}\r\n")
    lines.append(f"connection: {connection}\r\n\r\n" if connection else "\r\n")
    head = "".join(lines).encode("latin-1", "replace")
    return head if head_only else head + body


def _lines(second: int, own: tuple[tuple[str, str], ...]) -> str:
    given = [(name.lower(), value.translate(_UNSAFE)) for name, value in own]
    names = {name for name, _ in given}
    usual = [(name, value) for name, value in _DEFAULTS.items() if name not in names]
    lines = [f"{name}: {value}\r\n" for name, value in (*usual, *given) if _is_name(name) and name not in _OURS]
    return f"date: {formatdate(second, usegmt=True)}\r\n" + "".join(lines)


def _is_name(name: str) -> bool:
    return name.isascii() and name.replace("-", "").replace("_", "").isalnum()
