"""What a client of the HTTP server may do."""

from __future__ import annotations

from dataclasses import dataclass

BODIES_AT_ONCE = 16  # bytes of bodies that are being read, relative to the largest body


@dataclass(frozen=True)
class HttpLimits:
    """What a client may do.

    Args:
        max_body_bytes: Of one request. All bodies that are being read may together hold BODIES_AT_ONCE times as much.
        read_timeout_s: For a request's head, for its body, and for a client to read a part of its answer.
        max_connections: Beyond it, new connections get a 503.
        keep_alive_s: A connection without a request is closed after this time.
        max_head_bytes: Of the request line and the headers.
        max_headers: Number of them.
    """

    max_body_bytes: int
    read_timeout_s: float
    max_connections: int
    keep_alive_s: float = 75.0
    max_head_bytes: int = 65536
    max_headers: int = 100
