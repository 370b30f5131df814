"""What passes between the HTTP server and the application: a request's head, the request, and the response."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mlstack.serving.problems import Problem

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(slots=True)
class Head:
    """What is known of a request before its body.

    Attributes:
        method: In capitals.
        path: Decoded, without the query: `/v1/models/cats/predict`.
        query: Decoded; of a name that stands twice, the last value.
        headers: Names in small letters; of a name that stands twice, the values with a comma between them.
        peer: Address of who asks.
        id: The client's `x-request-id` where it is a plain one, or a new one.
        received: `time.perf_counter()` when the head was complete.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    peer: str = ""
    id: str = ""
    received: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        if not self.id:
            given = self.headers.get("x-request-id", "")
            self.id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


@dataclass(slots=True)
class Request:
    """A request whose body is complete."""

    head: Head
    body: bytes = b""


@dataclass(slots=True)
class Response:
    """What goes back. The server adds content-length, x-request-id and the security headers."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Application(Protocol):
    """What the HTTP server asks, on its event loop."""

    def admit(self, head: Head) -> Response | None:
        """Refuse a request before its body is read, or None: let it come. At once: nothing is awaited here."""

    async def answer(self, request: Request) -> Response:
        """Answer a request. Cancelled when the client goes away. Never raises but for a bug."""

    def refusal(self, head: Head, problem: Problem) -> Response:
        """How a refusal of the server's own, or a bug's 500, is told to whoever sent this head.

        Of a head that could not be read, method and path are empty, and so are its headers.
        """
