"""Every way to refuse a request, as a problem body of RFC 9457 (https://www.rfc-editor.org/rfc/rfc9457).

    {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "…", "request_id": "…"}

`detail` is one line that says what was given, what is allowed and what to do.
"""

from __future__ import annotations

import json
import math
from http import HTTPStatus

from mlstack.serving.messages import Response

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818 - the word of the RFC
    """A request that is not answered.

    Args:
        status: Of HTTP: 4xx = the client's mistake, 503 = not now, 500 = ours.
        detail: One line for the client.
        reason: One word for the metric `inference_rejections_total`.
        headers: Further ones, such as Retry-After.
    """

    def __init__(
        self, status: int, detail: str, *, reason: str = "invalid", headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.reason = reason
        self.headers = headers

    def response(self, request_id: str) -> Response:
        """The problem as it is sent."""
        body = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        text = json.dumps(body, ensure_ascii=False).encode(errors="replace")
        return Response(self.status, text, CONTENT_TYPE, self.headers)


def bad_request(detail: str) -> Problem:
    """400: the body or a parameter is wrong."""
    return Problem(400, detail)


def unsupported(detail: str) -> Problem:
    """415: a content type, or a kind of picture, that is not taken."""
    return Problem(415, detail, reason="unsupported")


def too_large(detail: str) -> Problem:
    """413: too many bytes, pixels or images."""
    return Problem(413, detail, reason="too_large")


def not_found(detail: str) -> Problem:
    """404: no such address, or no such model."""
    return Problem(404, detail, reason="not_found")


def overloaded(detail: str, *, retry_after: float) -> Problem:
    """429: the queue is full; `retry_after` in seconds."""
    return Problem(429, detail, reason="overloaded", headers=(_retry_after(retry_after),))


def rate_limited(detail: str, *, retry_after: float) -> Problem:
    """429: this client asks too often; `retry_after` in seconds."""
    return Problem(429, detail, reason="rate_limited", headers=(_retry_after(retry_after),))


def not_ready(detail: str, *, retry_after: float = 1.0) -> Problem:
    """503: no model yet, or the service is ending."""
    return Problem(503, detail, reason="not_ready", headers=(_retry_after(retry_after),))


def expired(detail: str) -> Problem:
    """503: the request's deadline passed while it waited; nothing was computed."""
    return Problem(503, detail, reason="deadline", headers=(_retry_after(1.0),))


def _retry_after(seconds: float) -> tuple[str, str]:
    return "retry-after", str(max(1, math.ceil(seconds)))
