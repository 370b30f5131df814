from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop
from echo_server import GOOD, Echo, limits, read_all, read_answer, running, statuses

from mlstack.errors import ConfigError
from mlstack.serving.http_server import HttpServer

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture(params=LOOPS, ids=["asyncio", "uvloop"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    factory: Callable[[], asyncio.AbstractEventLoop] = request.param
    return factory


def request_of(path: str, body: bytes = b"", *, method: str = "POST", headers: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def test_draining_answers_what_was_accepted_and_what_waits_in_the_kernel_s_queue(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with running(limits(), loop_factory) as server:
        kept, waiting = server.connect(), server.connect()
        with kept, waiting:
            kept.sendall(GOOD)
            assert read_answer(kept) == (200, b"good")
            waiting.sendall(request_of("/wait"))
            assert server.application.begun.wait(10)

            async def stop() -> list[socket.socket]:
                queued = [server.connect() for _ in range(5)]  # the loop is held: nobody accepts them
                for sock in queued:
                    sock.sendall(GOOD)
                server.server.stop_accepting()
                return queued

            queued = server.wait(stop())
            for sock in queued:
                with sock:
                    assert statuses(read_all(sock)) == [200]
            with pytest.raises(ConnectionRefusedError):
                server.connect()
            drained = asyncio.run_coroutine_threadsafe(server.server.drain(10), server.loop)
            server.wait(asyncio.sleep(0.1))  # draining has looked at the kept connection, and left it its grace
            kept.sendall(GOOD)
            answer = read_all(kept)
            assert statuses(answer) == [200] and b"connection: close" in answer
            server.call(server.application.released.set)
            assert statuses(read_all(waiting)) == [200]
            assert drained.result(10) == 0


def test_draining_closes_idle_connections_and_says_what_was_cut_off(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    with running(limits(), loop_factory) as server, server.connect() as idle, server.connect() as waiting:
        idle.sendall(GOOD)
        assert read_answer(idle) == (200, b"good")
        waiting.sendall(request_of("/wait"))
        assert server.application.begun.wait(10)
        server.call(server.server.stop_accepting)
        assert server.wait(server.server.drain(0.7)) == 1
        assert idle.recv(1) == b""
        server.wait(server.server.close())
        assert server.application.cancelled.is_set()


def test_an_address_that_can_t_be_listened_on_is_said_with_its_key() -> None:
    async def start(host: str, port: int) -> None:
        server = HttpServer(Echo(), limits())
        try:
            await server.start(host, port)
        finally:
            await server.close()

    with running(limits()) as server:
        with pytest.raises(ConfigError, match=rf"serve\.port={server.port} is in use") as error:
            asyncio.run(start("127.0.0.1", server.port))
        assert error.value.key == "serve.port" and "serve.port=0" in error.value.hint
    for host in ("192.0.2.1", "no.such.host.invalid"):
        with pytest.raises(ConfigError, match=r"serve\.host") as error:
            asyncio.run(start(host, 0))
        assert error.value.key == "serve.host"


def test_a_name_with_several_addresses_is_listened_on_at_one_port() -> None:
    async def main() -> None:
        server = HttpServer(Echo(), limits())
        port = await server.start("localhost", 0)
        for family, kind, protocol, _, address in await asyncio.get_running_loop().getaddrinfo(
            "localhost", port, type=socket.SOCK_STREAM
        ):
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError:  # no IPv6 here
                continue
            with sock:
                sock.setblocking(False)
                await asyncio.get_running_loop().sock_connect(sock, address)
        await server.close()

    asyncio.run(main())
