from __future__ import annotations

import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "has_wheel.py"
PYTHON = f"cp{sys.version_info.major}{sys.version_info.minor}"


class Index(BaseHTTPRequestHandler):
    """Answers /full/PACKAGE/ with this machine's wheel, /other/torch/ with another's, /slow/torch/ with a trickle."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        if self.path == "/slow/torch/":
            for _ in range(200):
                try:
                    self.wfile.write(b"\n")
                except OSError:
                    return
                time.sleep(0.05)
        machine = "abacus" if self.path == "/other/torch/" else platform.machine()
        build = "paddle_gpu-3.3.1" if "paddle-gpu" in self.path else "torch-2.14.1%2Bcpu"
        wheel = f"{build}-{PYTHON}-{PYTHON}-manylinux_2_28_{machine}.whl"
        self.wfile.write(f'<a href="/whl/cpu/{wheel}">{wheel}</a>\n'.encode())

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    ("folder", "package", "version", "status"),
    [
        ("/full", "torch", "2.14.1+cpu", 0),
        ("/full/", "torch", "2.14.1+cpu", 0),
        ("/full", "torch", "2.14.2+cpu", 1),
        ("/full", "torch", "2.14.1", 1),
        ("/other", "torch", "2.14.1+cpu", 1),
        ("/full", "paddle-gpu", "3.3.1", 0),
        ("/full", "paddle-gpu", "3.3.0", 1),
    ],
)
def test_only_this_very_build_for_this_machine_counts(
    index: str, folder: str, package: str, version: str, status: int
) -> None:
    assert subprocess.run([sys.executable, SCRIPT, index + folder, package, version], check=False).returncode == status


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "no address", "http://nowhere.invalid"])
def test_an_index_that_is_not_there_is_a_quiet_no(address: str) -> None:
    command = [sys.executable, SCRIPT, address, "torch", "2.14.1+cpu"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout, answer.stderr) == (1, "", "")


def test_an_index_that_trickles_is_given_up(index: str) -> None:
    """The wheel is there, in the last line, ten seconds later: who waited for it would find it."""
    command = [sys.executable, SCRIPT, f"{index}/slow", "torch", "2.14.1+cpu"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (1, "")
