"""Read the head of a request: llhttp, Node's parser, through httptools, and the limits and refusals around it.

The head is cut out first: it ends with the first empty line, and no line in it ends otherwise than with CR LF. So there
is one reading of where it ends and what its body's length is, which is what request smuggling lives on
(https://www.rfc-editor.org/rfc/rfc9112#section-11.2).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote_to_bytes

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from mlstack.serving.http_limits import HttpLimits
from mlstack.serving.messages import REQUEST_ID, Head
from mlstack.serving.problems import Problem, bad_request

END = b"\r\n\r\n"
MAX_LINE = 8192  # bytes of the request line: what Apache and nginx take
MAX_PARAMETERS = 100
MAX_LENGTH_DIGITS = 18
CHUNKED = -1
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
# A head that has begun: a method, then a target. Anything else (TLS, HTTP/2) is refused without waiting for its end.
BEGINNING = re.compile(rb"[A-Z][A-Z-]{0,31}(?: |\Z)")
BARE_LF = re.compile(rb"(?<!\r)\n")


@dataclass(slots=True)
class Incoming:
    """A head, and what it says about the body and the connection.

    Attributes:
        length: Bytes of the body; CHUNKED = it comes in chunks.
        keep_alive: The client wants to ask again on this connection.
        old: HTTP/1.0.
        expects: The client waits for `100 Continue` before it sends the body.
    """

    head: Head
    length: int = 0
    keep_alive: bool = False
    old: bool = False
    expects: bool = False


def check_open_head(raw: bytearray, *, seen: int, limits: HttpLimits) -> None:
    """Refuse a head whose end has not come, as soon as it can't become one.

    Args:
        raw: What has come.
        seen: Bytes of it that were looked at before.
        limits: Of a head's bytes.

    Raises:
        Problem: 400, 414 or 431.
    """
    if BEGINNING.match(raw) is None or BARE_LF.search(raw, seen):
        raise bad_request("a request begins with METHOD TARGET HTTP/1.1, and its lines end with CR LF")
    if len(raw) > MAX_LINE and raw.find(b"\r\n", 0, MAX_LINE + 2) < 0:
        raise _too_large(414, f"a request line of more than {MAX_LINE} bytes")
    _check_size(raw, limits)


def read_head(raw: bytes, *, limits: HttpLimits, peer: str) -> Incoming:
    """Read a head.

    Args:
        raw: All of it, from the request line to the empty line.
        limits: Of a head's bytes and headers.
        peer: Address of who asks.

    Raises:
        Problem: 400, 405, 414, 417 or 431: it can't be taken, and neither can what follows on the connection.
    """
    _check_size(raw, limits)
    lines = raw.count(b"\r\n")
    if raw.count(b"\n") != lines or raw.count(b"\r") != lines:
        raise bad_request("the lines of a head end with CR LF, and neither stands anywhere else in it")
    if lines > limits.max_headers + 2:
        raise _too_large(431, f"{lines - 2} headers; at most {limits.max_headers} are taken")
    method, target, old = _request_line(raw[: raw.find(b"\r\n")])
    headers = _headers(raw)
    if not old and "host" not in headers:
        raise bad_request("a request of HTTP/1.1 needs a host header")
    if "," in headers.get("host", ""):
        raise bad_request("more than one host header")
    path, query = _target(target)
    given = headers.get("x-request-id")
    head = Head(
        method,
        path,
        query,
        headers,
        peer,
        given if given and REQUEST_ID.fullmatch(given) else new_id(),
    )
    expects = headers.get("expect")
    if expects is not None and expects.lower() != "100-continue":
        raise Problem(417, "of the expect header only 100-continue is known")
    return Incoming(
        head, _length(headers, old=old), _keep_alive(headers, old=old), old, expects is not None and not old
    )


def new_id() -> str:
    """A request id that nobody can guess: feedback is given by it."""
    return os.urandom(16).hex()


def _check_size(raw: bytes | bytearray, limits: HttpLimits) -> None:
    if len(raw) > limits.max_head_bytes:
        raise _too_large(431, f"a head of more than {limits.max_head_bytes} bytes")


def _too_large(status: int, detail: str) -> Problem:
    return Problem(status, detail, reason="too_large")


class _Headers:
    """Where llhttp puts what it finds."""

    __slots__ = ("complete", "values")

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1").strip()
        self.values[key] = f"{self.values[key]}, {text}" if key in self.values else text

    def on_headers_complete(self) -> None:
        self.complete = True


def _headers(raw: bytes) -> dict[str, str]:
    found = _Headers()
    try:
        HttpRequestParser(found).feed_data(raw)
    except HttpParserUpgrade:
        pass  # no other protocol is spoken here: the request is answered as it stands
    except HttpParserError as error:
        raise bad_request(f"no valid head of a request: {error}") from None
    if not found.complete:
        raise bad_request("no valid head of a request")
    return found.values


def _request_line(line: bytes) -> tuple[str, bytes, bool]:
    """Method, target, and whether it is HTTP/1.0."""
    if len(line) > MAX_LINE:
        raise _too_large(414, f"a request line of more than {MAX_LINE} bytes")
    parts = line.split(b" ")
    if len(parts) != 3 or parts[2] not in VERSIONS:
        raise bad_request("a request begins with METHOD TARGET HTTP/1.1")
    if parts[0] == b"CONNECT":
        raise Problem(405, "this is no proxy: CONNECT is not taken")
    return parts[0].decode("latin-1"), parts[1], parts[2] == b"HTTP/1.0"


def _target(target: bytes) -> tuple[str, dict[str, str]]:
    """Path and query, decoded."""
    raw, _, query = target.partition(b"?")
    if not raw.startswith(b"/") and raw != b"*":
        scheme, _, rest = raw.partition(b"://")  # as a proxy is asked: http://host/path
        if scheme.lower() not in (b"http", b"https"):
            raise bad_request("the target of a request is a path")
        raw = b"/" + rest.partition(b"/")[2]
    try:
        path = (unquote_to_bytes(raw) if b"%" in raw else raw).decode()
        if not query:
            values = {}
        else:
            pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
            values = dict(pairs)
    except ValueError:
        raise bad_request(
            f"path and query have to be UTF-8, percent-encoded, with at most {MAX_PARAMETERS} parameters"
        ) from None
    if "#" in path or "\0" in path:
        raise bad_request("a path holds neither a fragment nor NUL")
    return path, values


def _length(headers: dict[str, str], *, old: bool) -> int:
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if length is not None or old or coding.lower() != "chunked":
            raise bad_request("of transfer codings only chunked is known, in HTTP/1.1 and without a content-length")
        return CHUNKED
    if length is None:
        return 0
    if not (length.isascii() and length.isdigit()) or len(length) > MAX_LENGTH_DIGITS:
        raise bad_request("content-length is one whole number of bytes")
    return int(length)


def _keep_alive(headers: dict[str, str], *, old: bool) -> bool:
    connection = headers.get("connection")
    if connection is None:
        return not old
    options = [option.strip() for option in connection.lower().split(",")]
    return "close" not in options and (not old or "keep-alive" in options)
