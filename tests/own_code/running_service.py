"""A real service in a process of its own, and a few lines to ask it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[2] / "scripts" / "serve.py"
SERVING = re.compile(r"serving http://127\.0\.0\.1:(\d+)")


@dataclass
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def asked(host: str, port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """One request on a connection of its own; `content_type=…` stands for the header content-type."""
    with contextlib.closing(http.client.HTTPConnection(host, port, timeout=60)) as connection:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()})


@dataclass
class RunningService:
    """A service that listens.

    Attributes:
        log: Lines of its stderr so far.
    """

    process: subprocess.Popen[str]
    port: int
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own; `content_type=…` stands for the header content-type."""
        return asked("127.0.0.1", self.port, method, path, body, **headers)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, value: Any, **headers: str) -> Answer:
        return self.ask("POST", path, json.dumps(value).encode(), **{"content_type": "application/json", **headers})

    def events(self, event: str) -> list[dict[str, Any]]:
        """Lines of the log about one kind of event."""
        lines = (json.loads(line) for line in self.log if line.startswith("{"))
        return [line for line in lines if line["event"] == event]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def running(*words: str, cwd: Path | None = None) -> Iterator[RunningService]:
    """`python scripts/serve.py WORDS serve.port=0`, from the moment it listens to the end of the block."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *words, "serve.port=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout
    assert process.stderr
    log: list[str] = []
    stderr = process.stderr
    reader = threading.Thread(target=lambda: log.extend(iter(stderr.readline, "")), daemon=True)
    reader.start()
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if (match := SERVING.search(line)) is not None:
                yield RunningService(process, int(match[1]), log)
                break
        else:
            process.wait(10)
            reader.join(10)
            raise AssertionError(f"the service did not start:\n{''.join(said)}{''.join(log)}")
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        reader.join(10)
        process.stdout.close()
        process.stderr.close()
