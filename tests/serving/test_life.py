from __future__ import annotations

import asyncio
import contextlib
import http.client
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import echo_server
import pytest
from echo_server import GOOD, Echo, limits, read_answer

from mlstack.errors import ConfigError
from mlstack.serving.http_server import HttpServer, _drop_newcomers
from mlstack.serving.life import run, serve_until_stopped

WAIT = b"POST /wait HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n"


@contextlib.contextmanager
def service(drain_s: float) -> Iterator[tuple[subprocess.Popen[str], int, IO[str]]]:
    """A server in a process of its own: the process, its port and what it prints."""
    command = [sys.executable, str(Path(echo_server.__file__)), str(drain_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline()), process.stdout
        finally:
            process.kill()


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and what stands on stderr."""
    _, errors = process.communicate(timeout=20)
    return process.returncode, errors


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_idle_service_with_status_0(number: signal.Signals) -> None:
    with service(10) as (process, port, output), connect(port) as sock:
        sock.sendall(GOOD)
        assert read_answer(sock) == (200, b"good")
        process.send_signal(number)
        assert output.readline() == "stopping\n"
        assert sock.recv(1) == b""
        assert end_of(process) == (0, "")


class Asker(threading.Thread):
    """Asks until the service takes no more connections.

    Args:
        keeps: One connection for all its requests; otherwise one for each.
    """

    def __init__(self, port: int, *, keeps: bool) -> None:
        super().__init__()
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.keeps = keeps
        self.answered = 0
        self.lost: list[object] = []

    def run(self) -> None:
        while not self.lost:
            try:
                if self.connection.sock is None:
                    self.connection.connect()
            except ConnectionRefusedError:
                return  # nothing was sent: nothing is lost
            try:
                self._ask(b"%d of %d" % (self.answered, id(self)))
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(error)

    def _ask(self, body: bytes) -> None:
        self.connection.request("POST", "/slow", body=body)
        response = self.connection.getresponse()
        answer = (response.status, response.read())
        if answer != (200, body):
            self.lost.append(answer)
        self.answered += 1
        if not self.keeps:
            self.connection.close()


def test_sigterm_loses_no_request_of_clients_that_ask_in_a_loop() -> None:
    with service(10) as (process, port, _):
        askers = [Asker(port, keeps=number % 2 == 0) for number in range(16)]
        for asker in askers:
            asker.start()
        while min(asker.answered for asker in askers) < 3 and not any(asker.lost for asker in askers):
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        for asker in askers:
            asker.join(20)
        status, errors = end_of(process)
    assert [asker.lost for asker in askers if asker.lost] == []
    assert (status, errors) == (0, "")


def test_a_body_that_is_still_coming_at_the_signal_is_answered() -> None:
    with service(10) as (process, port, output), connect(port) as sock:
        sock.sendall(GOOD[:-2])
        with connect(port) as other:  # the service has seen the first when it answers the second
            other.sendall(GOOD)
            read_answer(other)
        process.send_signal(signal.SIGTERM)
        assert output.readline() == "stopping\n"
        sock.sendall(GOOD[-2:])
        assert read_answer(sock) == (200, b"good")
        assert end_of(process)[0] == 0


def test_requests_that_take_too_long_are_cut_off_and_the_status_says_so() -> None:
    with service(0.3) as (process, port, _), connect(port) as sock:
        sock.sendall(WAIT)
        with connect(port) as other:
            other.sendall(GOOD)
            read_answer(other)
        process.send_signal(signal.SIGTERM)
        status, errors = end_of(process)
        assert status == 1
        assert errors == "accepted requests that were cut off: 1\n"


def test_a_second_signal_ends_the_waiting() -> None:
    with service(60) as (process, port, output), connect(port) as sock:
        sock.sendall(WAIT)
        with connect(port) as other:
            other.sendall(GOOD)
            read_answer(other)
        process.send_signal(signal.SIGTERM)
        assert output.readline() == "stopping\n"
        process.send_signal(signal.SIGINT)
        assert end_of(process)[0] == 1


def test_a_port_in_use_is_a_config_error_and_leaves_nothing_open() -> None:
    async def main() -> int:
        first = HttpServer(Echo(), limits())
        port = await first.start("127.0.0.1", 0)
        try:
            return await serve_until_stopped(
                HttpServer(Echo(), limits()), host="127.0.0.1", port=port, drain_s=1, on_listening=None
            )
        finally:
            await first.close()

    with pytest.raises(ConfigError, match=r"serve\.port"):
        run(main)


def test_a_service_whose_task_is_cancelled_closes_its_connections() -> None:
    async def main() -> int:
        ports: asyncio.Queue[int] = asyncio.Queue()
        server = HttpServer(Echo(), limits())
        serving = asyncio.create_task(
            serve_until_stopped(server, host="127.0.0.1", port=0, drain_s=1, on_listening=ports.put_nowait)
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", await ports.get())
        writer.write(GOOD)
        await reader.readuntil(b"good")
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return server.connections

    assert run(main) == 0


USES_MEMORY = """
import sys, threading
from pathlib import Path
from mlstack.serving.life import return_memory

def resident():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").open() if line.startswith("VmRSS"))

def use(together, kept):
    together.wait()
    for _ in range(3):
        large = b"l" * 20_000_000
        kept.append(b"k" * 100_000)  # lies behind it, and stays

if sys.argv[1] == "returned":
    return_memory()
before, kept, together = resident(), [], threading.Barrier(4)
threads = [threading.Thread(target=use, args=(together, kept)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print((resident() - before) // 1024)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such settings")
def test_memory_of_large_bodies_goes_back_to_the_system() -> None:
    left = {
        way: int(subprocess.run([sys.executable, "-c", USES_MEMORY, way], capture_output=True, check=True).stdout)
        for way in ("kept", "returned")
    }
    assert left["returned"] < 10  # MB
    assert left["kept"] > 15  # where this fails, the C library does it by itself, and return_memory can go


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's filter is Linux's")
def test_the_end_takes_what_has_knocked_and_lets_nobody_else_in_to_be_reset() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with connect(port) as early:
            _drop_newcomers(listener)
            with pytest.raises(TimeoutError), socket.create_connection(("127.0.0.1", port), timeout=0.3):
                pass
            accepted, _ = listener.accept()
            with accepted:
                early.sendall(b"a request")
                assert accepted.recv(100) == b"a request"
                listener.setblocking(False)
                with pytest.raises(BlockingIOError):
                    listener.accept()
