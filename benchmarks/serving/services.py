"""Our service and the peers', started for their turns and ended after them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from peers import PEERS, start

ROOT = Path(__file__).parents[2]
AnyProcess = subprocess.Popen[str] | subprocess.Popen[bytes]
PATIENCE = 90.0  # seconds until a service has to answer


@contextmanager
def our_service(bundle: Path, settings: Sequence[str] = ()) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Our service, on a free port: its address and its process.

    Raises:
        RuntimeError: It did not come up.
    """
    command = [sys.executable, str(ROOT / "scripts" / "serve.py"), f"bundle={bundle}", "serve.port=0"]
    process = subprocess.Popen(
        [*command, "serve.access_log=false", *settings], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield announced(process), process
    finally:
        end(process)


@contextmanager
def peer_service(name: str, *, model: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A peer: its address and its process.

    Raises:
        RuntimeError: It did not come up.
    """
    port = free_port()
    process = start(PEERS[name], model=model, port=port)
    try:
        url = f"http://127.0.0.1:{port}"
        _await(url + PEERS[name].ready, process)
        yield url, process
    finally:
        end(process)


def end(process: AnyProcess) -> None:
    """End a service and everything that it started: it got a session of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        os.killpg(process.pid, signal.SIGCONT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # children that outlive it
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def awake(process: AnyProcess) -> Iterator[None]:
    """Let a service run as long as the block lasts, and stand still after it: LitServe takes 30 % of a core idle."""
    os.killpg(process.pid, signal.SIGCONT)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGSTOP)


def free_port() -> int:
    """A port that nobody listens on, and neither on the two after it."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            try:
                for port in (first + 1, first + 2):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except (OSError, OverflowError):
                continue
            return int(first)


def announced(process: subprocess.Popen[str]) -> str:
    """The address that our service prints once it is ready."""
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if "http://" in line:
                return "http://" + line.split("http://", 1)[1].split()[0].rstrip("/;,")
    finally:
        watchdog.cancel()
    raise RuntimeError("our service did not come up")


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except urllib.error.HTTPError as error:
            error.close()
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not come up; its log lies beside its environment")
