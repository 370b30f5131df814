"""A small HTTP/1.1 server on asyncio: listening, limits and the end. What a connection does is in http_connection.py.

Why not a ready one: a service of models needs limits of heads and times for slow clients, a refusal that the client can
read, and an end that loses nothing; and it should cost less than the model. TLS and HTTP/2 are a proxy's work.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Callable

from mlstack.errors import ConfigError
from mlstack.serving.http_answers import Clock
from mlstack.serving.http_bugs import refusal
from mlstack.serving.http_connection import HttpConnection
from mlstack.serving.http_limits import BODIES_AT_ONCE, HttpLimits
from mlstack.serving.messages import Application, Head, Response
from mlstack.serving.problems import Problem, not_ready

BACKLOG = 1024  # connections that the kernel keeps for us
GRACE_S = 0.5  # time in which a client that keeps its connection may learn, with an answer, that it ends
REFUSED_AT_ONCE = 128  # connections beyond the limit that get an answer; further ones are cut
SO_ATTACH_FILTER = 26  # Linux; the socket module has no name for it
# Classic BPF, (code, jump if true, jump if false, operand): load the TCP header's flags; SYN? keep 0 bytes; else all.
DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))

__all__ = ["HttpLimits", "HttpServer"]


class HttpServer:
    """Serves an application on the running event loop.

    Args:
        application: Asked for each request, and how to tell a refusal of the server's own.
        limits: What a client may do.
        on_refusal: Told status and reason of each request that the server refuses without the application.

    Attributes:
        in_flight: Requests that the application is answering.
        stopping: No new connections, and each answer ends its connection.
    """

    def __init__(
        self, application: Application, limits: HttpLimits, *, on_refusal: Callable[[int, str], None] | None = None
    ) -> None:
        self.application = application
        self.limits = limits
        self.in_flight = 0
        self.stopping = False
        self.clock = Clock()
        self.loop: asyncio.AbstractEventLoop
        self._on_refusal = on_refusal
        self._open: set[HttpConnection] = set()
        self._held = 0  # bytes of bodies that are being read
        self._listening: list[tuple[socket.socket, asyncio.Server]] = []
        self._accepting: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Open connections, those of idle clients too."""
        return len(self._open)

    async def start(self, host: str, port: int) -> int:
        """Listen; answers the port, which the system chooses where `port` is 0.

        Raises:
            ConfigError: The address is taken, not allowed or not this machine's.
        """
        self.loop = asyncio.get_running_loop()
        for sock in await _bind(host, port):
            server = await self.loop.create_server(lambda: HttpConnection(self), sock=sock, backlog=BACKLOG)
            self._listening.append((sock, server))
            port = sock.getsockname()[1]
        return port

    def stop_accepting(self) -> None:
        """Take what waits in the kernel's queue, and listen no more. Kept connections end with their next answer."""
        self.stopping = True
        for sock, server in self._listening:
            _drop_newcomers(sock)
            with contextlib.suppress(OSError):  # the queue is empty
                while True:
                    client, _ = sock.accept()
                    client.setblocking(False)
                    task = self.loop.create_task(
                        self.loop.connect_accepted_socket(lambda: HttpConnection(self), client)
                    )
                    self._accepting.add(task)
                    task.add_done_callback(self._accepting.discard)
            server.close()
        self._listening.clear()

    async def drain(self, seconds: float) -> int:
        """Wait until what has been accepted is answered; answers how many requests were not.

        A request may already be on its way on a connection without one: those are closed after GRACE_S only.
        """
        now = self.loop.time()
        end, grace_end = now + seconds, now + min(GRACE_S, seconds)
        while (self._open or self._accepting) and now < end:
            if now >= grace_end:
                for connection in list(self._open):
                    connection.close_idle()
            await asyncio.sleep(0.01)
            now = self.loop.time()
        return sum(connection.unanswered for connection in self._open)

    async def close(self) -> None:
        """Cut what is still open."""
        self.stop_accepting()
        if self._accepting:
            await asyncio.wait(self._accepting)
        for connection in list(self._open):
            connection.cut()
        while self._open or self.in_flight:
            await asyncio.sleep(0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await asyncio.sleep(0)  # the loop closes its sockets one round later

    def enter(self, connection: HttpConnection) -> bool:
        """Take a new connection in; False = there are too many, it is to be refused."""
        self._open.add(connection)
        if self._timer is None:
            self._check_times()
        excess = len(self._open) - self.limits.max_connections
        if excess > REFUSED_AT_ONCE:
            connection.cut()
        return excess <= 0

    def leave(self, connection: HttpConnection) -> None:
        """Forget a connection."""
        self._open.discard(connection)

    def hold(self, size: int) -> None:
        """Count bytes of a body that is being read, or (negative) is so no more.

        Raises:
            Problem: 503: all bodies together would hold too many; these are not counted.
        """
        if size > 0 and self._held + size > BODIES_AT_ONCE * self.limits.max_body_bytes:
            raise not_ready("too many bodies are being read at once; try again later")
        self._held += size

    def refused(self, head: Head, problem: Problem) -> Response:
        """The answer to a request that the application doesn't get to see."""
        if self._on_refusal is not None:
            self._on_refusal(problem.status, problem.reason)
        return refusal(self.application, head, problem)

    def _check_times(self) -> None:
        """Look at all connections, now and then, as long as there are any: 0.3 ms for 2,000."""
        now = self.loop.time()
        for connection in list(self._open):
            connection.check(now)
        tick = min(0.5, max(0.01, self.limits.read_timeout_s / 10))
        self._timer = self.loop.call_later(tick, self._check_times) if self._open else None


async def _bind(host: str, port: int) -> list[socket.socket]:
    """Sockets for all addresses of a name, on one port."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ConfigError(
            f"serve.host={host} can't be resolved: {error}",
            key="serve.host",
            hint="127.0.0.1 is this machine alone, 0.0.0.0 every address it has",
        ) from None
    bound: list[socket.socket] = []
    failure: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        try:
            sock = _listen(socket.socket(family, kind, protocol), (address[0], port, *address[2:]))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES, errno.EPERM):
                _close_all(bound)
                raise _refused_port(port, error) from None
            failure = error  # IPv6 where there is none: another address of the name may do
            continue
        bound.append(sock)
        port = sock.getsockname()[1]
    if not bound:
        reason = failure.strerror if failure is not None else "it has no address"
        raise ConfigError(
            f"serve.host={host} can't be listened on: {reason}",
            key="serve.host",
            hint="it has to be an address of this machine: 127.0.0.1, or 0.0.0.0 for every one",
        )
    return bound


def _listen(sock: socket.socket, address: tuple[object, ...]) -> socket.socket:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a restart needn't wait for old connections
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(BACKLOG)  # two that share a port find out here, not in bind
    except OSError:
        sock.close()
        raise
    return sock


def _drop_newcomers(sock: socket.socket) -> None:
    """Let the kernel drop each SYN that arrives at a listening socket from now on, where it is Linux.

    Between the last accept and the close a connection could be made that nobody ever reads: reset, its request is lost.
    Dropped, the client's system knocks again a second later and is refused, which every client can tell from a loss.
    See https://docs.kernel.org/networking/filter.html.
    """
    program = array.array("B", b"".join(struct.pack("HBBI", *instruction) for instruction in DROP_SYN))
    address, _ = program.buffer_info()
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(DROP_SYN), address))


def _close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def _refused_port(port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"serve.port={port} is in use by another program",
            key="serve.port",
            hint="stop that one, or take another port: serve.port=8001, or serve.port=0 for any free one",
        )
    return ConfigError(
        f"serve.port={port} is not allowed: {error.strerror}",
        key="serve.port",
        hint="ports below 1024 are for the administrator: take serve.port=8000, or serve.port=0 for any free one",
    )
