"""A real HTTP server in a thread of its own, with a small application, for tests that speak to it over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mlstack.serving.http_server import HttpLimits, HttpServer
from mlstack.serving.messages import Head, Request, Response
from mlstack.serving.problems import Problem

GOOD = b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\ngood"


def limits(**given: Any) -> HttpLimits:
    """Limits that a test reaches at once."""
    return HttpLimits(**{"max_body_bytes": 10_000, "read_timeout_s": 5.0, "max_connections": 50, **given})


class Echo:
    """Answers with the request's body; a few paths do something else."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.begun = threading.Event()  # /wait has begun to be answered
        self.cancelled = threading.Event()
        self.released = asyncio.Event()  # /wait answers; set on the loop of the server

    def admit(self, head: Head) -> Response | None:
        if head.path == "/refused":
            return Problem(401, "no key").response(head.id)
        if head.path == "/broken-admit":
            raise KeyError("a bug")
        return None

    def refusal(self, head: Head, problem: Problem) -> Response:
        if head.path == "/broken-refusal":
            raise KeyError("a bug")
        response = problem.response(head.id)
        response.headers += (("x-refused", head.path),)
        return response

    async def answer(self, request: Request) -> Response:
        self.heads.append(request.head)
        path = request.head.path
        if path == "/wait":
            self.begun.set()
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        if path == "/slow":
            await asyncio.sleep(0.02)
        if path == "/bug":
            raise KeyError("a secret of ours")
        if path == "/inner-cancel":
            raise asyncio.CancelledError
        if path == "/no-bytes":
            return Response(200, 17)  # type: ignore[arg-type]
        if path == "/large":
            return Response(200, bytes(int(request.head.query["size"])), "application/octet-stream")
        if path == "/headers":
            own = (("cache-control", "max-age=60"), ("x-note", request.body.decode()), ("content-length", "3"))
            return Response(200, b"own", "text/html", own)
        if path == "/empty":
            return Response(204)
        return Response(200, request.body, "application/octet-stream")


@dataclass
class Running:
    """A server that runs in a thread."""

    server: HttpServer
    application: Echo
    port: int
    loop: asyncio.AbstractEventLoop
    refusals: list[tuple[int, str]] = field(default_factory=list)

    def connect(self, *, receive_buffer: int | None = None) -> socket.socket:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(10)
        try:
            sock.connect(("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        return sock

    def ask(self, *pieces: bytes, half_close: bool = False) -> bytes:
        """Send on a connection of its own, and read until the server closes."""
        with self.connect() as sock, contextlib.suppress(ConnectionError):
            for piece in pieces:
                sock.sendall(piece)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            return read_all(sock)
        return b""

    def call(self, function: Callable[..., Any], *args: Any) -> None:
        """Call on the server's loop."""
        self.loop.call_soon_threadsafe(function, *args)

    def wait(self, coroutine: Any) -> Any:
        """Run a coroutine on the server's loop, and wait for it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    def assert_good(self) -> None:
        """A good request, on a new connection, is answered."""
        with self.connect() as sock:
            sock.sendall(GOOD)
            assert read_answer(sock) == (200, b"good")


@contextlib.contextmanager
def running(
    http_limits: HttpLimits, factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
) -> Iterator[Running]:
    """Start a server, and close it at the end."""
    started = threading.Event()
    box: list[Running] = []

    async def main() -> None:
        application = Echo()
        refusals: list[tuple[int, str]] = []
        server = HttpServer(application, http_limits, on_refusal=lambda *refusal: refusals.append(refusal))
        port = await server.start("127.0.0.1", 0)
        box.append(Running(server, application, port, asyncio.get_running_loop(), refusals))
        stop = asyncio.Event()
        stops.append(stop)
        started.set()
        await stop.wait()
        await server.close()
        assert server.connections == server.in_flight == 0

    def serve() -> None:
        try:
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(main())
        except BaseException as error:  # noqa: BLE001 - raised again in the test's thread
            failures.append(error)
        finally:
            started.set()

    failures: list[BaseException] = []
    stops: list[asyncio.Event] = []
    thread = threading.Thread(target=serve)
    thread.start()
    started.wait()
    try:
        if box:
            yield box[0]
    finally:
        if stops and not failures:
            box[0].call(stops[0].set)
        thread.join(20)
        assert not thread.is_alive()
        if failures:
            raise failures[0]


def send_again_and_again(sock: socket.socket, data: bytes, *, times: int, pause: float = 0.0) -> None:
    """Send until the server no longer takes it, which raises."""
    for _ in range(times):
        sock.sendall(data)
        time.sleep(pause)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what the server does in its own time."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def read_all(sock: socket.socket) -> bytes:
    """What comes until the server closes."""
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def read_head(sock: socket.socket) -> tuple[int, dict[str, str]]:
    """Status and headers of the next answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = sock.recv(1)
        if not piece:
            raise ConnectionError(f"closed after {head!r}")
        head += piece
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    return int(first.split(" ")[1]), dict(line.split(": ", 1) for line in lines)


def read_answer(sock: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    status, headers = read_head(sock)
    body = b""
    missing = int(headers.get("content-length", 0))
    while len(body) < missing:
        piece = sock.recv(missing - len(body))
        if not piece:
            raise ConnectionError("closed within a body")
        body += piece
    return status, body


def statuses(answers: bytes) -> list[int]:
    """Status of each answer in what a connection brought, by its length."""
    found = []
    while answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 "), head[:100]
        found.append(int(head[9:12]))
        length = [line for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
        answers = rest[int(length[0][16:]) if length else 0 :]
    return found


def main() -> int:
    """Serve in a process of its own until it is told to stop; the port is the first line that it prints."""
    from mlstack.serving.life import run, serve_until_stopped

    def say(word: object) -> None:
        print(word, flush=True)

    async def serve() -> int:
        server = HttpServer(Echo(), limits(max_connections=500))
        return await serve_until_stopped(
            server,
            host="127.0.0.1",
            port=0,
            drain_s=float(sys.argv[1]),
            on_listening=say,
            on_stopping=lambda: say("stopping"),
        )

    return run(serve)


if __name__ == "__main__":
    sys.exit(main())
