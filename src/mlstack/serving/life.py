"""A service from its start to its end: listen, wait for SIGTERM or SIGINT, finish what was accepted, exit."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
import logging
import resource
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from mlstack.bundle.session import give_back_memory
from mlstack.serving.http_server import HttpServer

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SPARE_FILES = 256  # open files beside the clients' connections: models, logs, watched folders
# mallopt's numbers (https://man7.org/linux/man-pages/man3/mallopt.3.html) and what they get. Left alone, glibc raises
# its threshold with the first large body, keeps later ones in the arena of the thread that took them, and gives none
# back.
MALLOC = {-3: 2**20, -1: 4 * 2**20, -8: 2}  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD in bytes, M_ARENA_MAX
CUT_OFF = 1  # exit status when accepted requests were not answered
_log = logging.getLogger("mlstack.serving")


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run the service's coroutine on uvloop where it is installed, on asyncio's own loop otherwise.

    Memory of large bodies and pictures goes back to the system from here on, see `return_memory`.

    Returns:
        What the coroutine returns: the exit status.
    """
    return_memory()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main())


def return_memory() -> None:
    """Let large blocks go back to the system as soon as they are free, where the C library is glibc.

    A thousand attacks, with pictures of 40 megapixels among them, leave 10 MB behind instead of 130
    (benchmarks/serving/attacks.py).
    """
    with contextlib.suppress(OSError, AttributeError):  # macOS, musl
        library = ctypes.CDLL(None)
        for name, value in MALLOC.items():
            library.mallopt(name, value)


async def serve_until_stopped(
    server: HttpServer,
    *,
    host: str,
    port: int,
    drain_s: float,
    on_listening: Callable[[int], None] | None = None,
    on_stopping: Callable[[], None] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT, or until the task is cancelled.

    Args:
        server: Not started yet.
        host: A name or an address of this machine.
        port: 0 = any free one.
        drain_s: Time that accepted requests get at the end; a second signal ends it.
        on_listening: Told the port.
        on_stopping: Called at the signal, before the accepted requests are finished: readiness turns to no.

    Returns:
        The exit status: 0, or 1 where accepted requests were cut off.

    Raises:
        ConfigError: The address can't be listened on.
    """
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    _allow_files(server.limits.max_connections + SPARE_FILES)
    for number in SIGNALS:
        loop.add_signal_handler(number, signals.put_nowait, number)
    cut_off = 0
    try:
        listening = await server.start(host, port)
        give_back_memory()  # what reading the reference of each bundle has left behind: 10 to 20 MB
        if on_listening is not None:
            on_listening(listening)
        received = await signals.get()
        _log.info("%s: requests being answered: %d", received.name, server.in_flight)
        if on_stopping is not None:
            on_stopping()
        server.stop_accepting()
        cut_off = await _drain(server, drain_s, signals)
    finally:
        await server.close()
        for number in SIGNALS:
            loop.remove_signal_handler(number)
    if cut_off:
        _log.warning("accepted requests that were cut off: %d", cut_off)
    return CUT_OFF if cut_off else 0


async def _drain(server: HttpServer, seconds: float, signals: asyncio.Queue[signal.Signals]) -> int:
    """Finish what was accepted; a further signal ends the waiting."""
    draining = asyncio.ensure_future(server.drain(seconds))
    again = asyncio.ensure_future(signals.get())
    await asyncio.wait((draining, again), return_when=asyncio.FIRST_COMPLETED)
    again.cancel()
    if not draining.done():
        draining.cancel()
        return await server.drain(0)
    return await draining


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop


def _allow_files(wanted: int) -> None:
    """Raise this process's own limit of open files, as far as it may: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
