"""One connection of a client: requests are read, admitted and answered one after the other.

    HEAD ──► BODY ──► BUSY (the application answers) ──► HEAD …
      └────────┴────────┴──► LINGER (half closed: what still comes is thrown away) ──► CLOSED

While a request is answered nothing more is read, so a connection holds one request and one read (256 KB) at most. Times
are limited by `check`, which the server calls for all connections from one timer: cheaper than a timer each.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, cast

from mlstack.serving.http_answers import CONTINUE
from mlstack.serving.http_bodies import Body, ChunkedBody, SizedBody
from mlstack.serving.http_bugs import admit, answer, encode
from mlstack.serving.http_heads import CHUNKED, END, Incoming, check_open_head, read_head
from mlstack.serving.http_stalls import StallWatch
from mlstack.serving.messages import Head, Request, Response
from mlstack.serving.problems import Problem, not_ready, too_large

if TYPE_CHECKING:
    from mlstack.serving.http_server import HttpServer

HEAD, BODY, BUSY, LINGER, CLOSED = range(5)
LINGER_S = 2.0  # time for a client that is still sending to read its refusal
LINGER_FACTOR = 4  # and bytes for it, relative to the largest body
SMALL_BODY = 64 * 1024  # bytes of a refused request's body that are read, so that the connection can be kept


class HttpConnection(asyncio.Protocol):
    """A client's connection to `server`, whose application answers."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._limits = server.limits
        self._state = HEAD
        self._pending = bytearray()  # an unfinished head, or what came while a request was answered
        self._incoming: Incoming | None = None
        self._body: Body | None = None
        self._refusal: Response | None = None  # sent when the body, which is thrown away, has come
        self._reading = True
        self._task: asyncio.Task[None] | None = None
        self._deadline = math.inf
        self._held = 0  # bytes of the body, as the server counts them
        self._spare = 0  # bytes that are still thrown away in LINGER

    @property
    def unanswered(self) -> bool:
        """A request has begun to come, or its answer is not all sent."""
        return BODY <= self._state <= BUSY or len(self._pending) > 0 or self._stalls.sending

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._stalls = StallWatch(self._transport, self._limits.read_timeout_s)
        self._peer = str((transport.get_extra_info("peername") or ("",))[0])
        self._set_deadline(self._limits.read_timeout_s)
        if not self._server.enter(self) and self._state != CLOSED:
            self._refuse(not_ready("as many connections are open as are allowed; try again later"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = CLOSED
        self._server.leave(self)
        self._forget_body()
        if self._task is not None:
            self._task.cancel()

    def eof_received(self) -> None:
        """The client has left: None lets the transport close, and connection_lost cancels what is being answered."""

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == BUSY:
            self._keep(data)
        elif state == LINGER:
            self._spare -= len(data)
            if self._spare < 0:
                self.cut()
        elif self._pending:
            self._extend_head(data)
        else:
            self._advance(data)

    def check(self, now: float) -> None:
        """Close or refuse what has taken too long; `now` is the loop's time."""
        if self._stalls.stalled(now):
            self.cut()
        elif now < self._deadline:
            pass
        elif self._state == HEAD and not self._pending:
            self.close_idle()
        elif self._state < BUSY:
            limit = f"head and body of a request may take {self._limits.read_timeout_s:g} s each"
            self._refuse(Problem(408, limit, reason="timeout"))
        elif self._stalls.sending:
            self._set_deadline(self._limits.read_timeout_s)
            self._stalls.begin(now)
        else:
            self.cut()

    def close_idle(self) -> None:
        """Close a connection on which no request has begun."""
        if self._state == HEAD and not self._pending:
            self._close()

    def cut(self) -> None:
        """Close at once, whatever is under way."""
        self._state = CLOSED
        self._transport.abort()

    def _advance(self, data: bytes) -> None:
        """Take out of `data` what can be taken now, and keep the rest."""
        while data and self._state < BUSY:
            data = self._take_head(data) if self._state == HEAD else self._take_body(data)
        if data and self._state == BUSY:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._pending += data
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _take_pending(self) -> None:
        data = bytes(self._pending)
        self._pending.clear()
        self._resume_reading()
        self._advance(data)

    def _resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _take_head(self, data: bytes) -> bytes:
        if data[0] <= 13:  # CR LF, as some clients send behind a body
            data = data.lstrip(b"\r\n")
        end = data.find(END) + len(END)
        if end < len(END):
            if data:
                self._set_deadline(self._limits.read_timeout_s)
                self._extend_head(data)
            return b""
        try:
            return self._begin(read_head(data[:end], limits=self._limits, peer=self._peer), data, end)
        except Problem as problem:
            self._refuse(problem)
            return b""

    def _extend_head(self, data: bytes) -> None:
        """Keep a head whose end may not have come; refuse it as soon as it can't become one."""
        seen = max(0, len(self._pending) - len(END))
        self._pending += data
        if self._pending.find(END, seen) >= 0:
            self._take_pending()
            return
        try:
            check_open_head(self._pending, seen=seen, limits=self._limits)
        except Problem as problem:
            self._refuse(problem)

    def _begin(self, incoming: Incoming, data: bytes, end: int) -> bytes:
        """Ask whether a request may come, and begin with its body, which starts in `data` at `end`."""
        self._incoming = incoming
        length, small = incoming.length, min(SMALL_BODY, self._limits.max_body_bytes)
        refusal = self._admit(incoming)
        if CHUNKED < length <= len(data) - end:
            body_end = end + length
            self._complete(data[end:body_end] if length else b"", refusal)
            return data[body_end:]
        if refusal is not None and (incoming.expects or not 0 < length <= small):
            self._end_with(refusal)
            return b""
        if incoming.expects and len(data) == end:
            self._transport.write(CONTINUE)
        self._refusal = refusal
        self._state = BODY
        self._set_deadline(self._limits.read_timeout_s)
        if length == CHUNKED:
            self._body = ChunkedBody(self._limits.max_body_bytes)
        else:
            self._body = SizedBody(length, keep=refusal is None)
        return data[end:]

    def _admit(self, incoming: Incoming) -> Response | None:
        refusal = admit(self._server.application, incoming.head)
        if refusal is not None or incoming.length <= self._limits.max_body_bytes:
            return refusal
        problem = too_large(f"a body of {incoming.length} bytes; at most {self._limits.max_body_bytes} are taken")
        return self._server.refused(incoming.head, problem)

    def _take_body(self, data: bytes) -> bytes:
        body = cast("Body", self._body)
        try:
            rest = body.feed(data)
            self._server.hold(len(body.content) - self._held)
            self._held = len(body.content)
        except Problem as problem:
            self._refuse(problem)
            return b""
        if body.complete:
            content = bytes(body.content)
            self._forget_body()
            self._complete(content, self._refusal)
        return rest

    def _forget_body(self) -> None:
        self._body = None
        self._server.hold(-self._held)
        self._held = 0

    def _complete(self, body: bytes, refusal: Response | None) -> None:
        """A request is all there: let the application answer, or send the refusal."""
        self._refusal = None
        self._deadline = math.inf
        self._state = BUSY
        if refusal is not None:
            self._reply(refusal)
            return
        request = Request(cast("Incoming", self._incoming).head, body)
        self._task = self._server.loop.create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        self._server.in_flight += 1  # not before: a task that is cancelled before its first step never gets here
        try:
            response = await answer(self._server.application, request)
        finally:
            self._server.in_flight -= 1
            self._task = None
        if self._state == BUSY:
            self._reply(response)
            if self._pending and self._state == HEAD:
                self._take_pending()

    def _reply(self, response: Response) -> None:
        """Send an answer; afterwards the next request may come, or the connection ends."""
        incoming = cast("Incoming", self._incoming)
        if not incoming.keep_alive or self._server.stopping:
            self._end_with(response)
            return
        self._write(response, "keep-alive" if incoming.old else "")
        if not self._stalls.full:
            self._await_next()

    def _await_next(self) -> None:
        self._state = HEAD
        self._incoming = None
        self._set_deadline(self._limits.keep_alive_s)

    def _write(self, response: Response, connection: str) -> None:
        head, server = cast("Incoming", self._incoming).head, self._server
        self._transport.write(encode(server.application, response, head, clock=server.clock, connection=connection))

    def _refuse(self, problem: Problem) -> None:
        """Answer a request that can't be read to its end, and end the connection with it."""
        if self._incoming is None:
            self._incoming = Incoming(Head("", ""))
        self._end_with(self._server.refused(self._incoming.head, problem))

    def _end_with(self, response: Response) -> None:
        """Send the last answer of a connection.

        Where bytes may still come, closing at once would reset the connection, and the client would lose the answer:
        only our half is closed then, and what comes is thrown away for a while.
        """
        whole = self._state == BUSY and not self._pending
        self._write(response, "close")
        self._forget_body()
        self._pending.clear()
        if whole:
            self._close()
            return
        self._state = LINGER
        self._spare = LINGER_FACTOR * self._limits.max_body_bytes
        self._set_deadline(LINGER_S)
        self._resume_reading()
        try:
            self._transport.write_eof()
        except OSError:  # the client is gone already
            self.cut()

    def _close(self) -> None:
        self._state = CLOSED
        self._set_deadline(self._limits.read_timeout_s)
        self._transport.close()

    def _set_deadline(self, seconds: float) -> None:
        self._deadline = self._server.loop.time() + seconds

    def pause_writing(self) -> None:
        self._stalls.begin(self._server.loop.time())

    def resume_writing(self) -> None:
        self._stalls.end()
        if self._state == BUSY and self._task is None:
            self._await_next()
            if self._pending:
                self._take_pending()
