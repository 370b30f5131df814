"""A container of the `serve` image that answers, and a few lines to ask it."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from engine import Docker
from running_service import Answer, asked

HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
ANYBODY = "serve.allow_anonymous=true"
LISTENS = re.compile(r"^serving http://", re.MULTILINE)


@dataclass(frozen=True)
class RunningContainer:
    """A container that was started.

    Attributes:
        docker: Its engine.
        name: Its name there.
        port: On 127.0.0.1.
    """

    docker: Docker
    name: str
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """One request on a connection of its own; `content_type=…` stands for the header content-type."""
        return asked("127.0.0.1", self.port, method, path, body, **headers)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, **headers)

    def inspect(self, template: str) -> str:
        """A field of `docker inspect`, such as {{.State.Status}}."""
        return self.docker.run("inspect", "--format", template, self.name)

    def python(self, code: str) -> str:
        """Run a line of Python inside, beside the service: what it printed."""
        return self.docker.run("exec", self.name, "python", "-c", code)

    def log(self) -> str:
        """What it said so far, on stdout and stderr."""
        done = self.docker.process("logs", self.name)
        return done.stdout + done.stderr

    def events(self, event: str) -> list[dict[str, Any]]:
        """Lines of its log about one kind of event."""
        lines = (json.loads(line) for line in self.log().splitlines() if line.startswith("{"))
        return [line for line in lines if line["event"] == event]

    def stop(self) -> int:
        """SIGTERM, and wait; the exit status."""
        self.docker.run("stop", "--time", "60", self.name)
        return int(self.inspect("{{.State.ExitCode}}"))


@contextlib.contextmanager
def container(
    docker: Docker, image: str, *settings: str, bundle: Path | None = None, options: Sequence[str | Path] = HARDENED
) -> Iterator[RunningContainer]:
    """A service in a container, from the moment it listens to the end of the block.

    Args:
        docker: The engine.
        image: The image.
        *settings: What stands behind the image.
        bundle: Mounted at /bundle; None = not mounted.
        options: What stands in front of the image.
    """
    name = f"mltest-{uuid4().hex[:12]}"
    mounts: tuple[str | Path, ...] = ("-v", f"{bundle}:/bundle:ro") if bundle is not None else ()
    try:
        words = ("--name", name, "-p", "127.0.0.1::8000", *mounts, *options, image)
        docker.run("run", "--detach", *words, *settings)
        wait_until_it_listens(docker, name)
        port = docker.run("port", name, "8000/tcp").rpartition(":")[2]
        yield RunningContainer(docker, name, int(port))
    finally:
        docker.run("rm", "--force", "--volumes", name, check=False)


def wait_until_it_listens(docker: Docker, name: str) -> None:
    """Read its log until it says where it serves; an AssertionError has the log of one that ended instead."""
    words = [docker.program, "logs", "--follow", name]
    with subprocess.Popen(
        words, env=docker.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as following:
        assert following.stdout is not None
        said = ""
        for line in following.stdout:
            said += line
            if LISTENS.search(line):
                following.terminate()
                return
    raise AssertionError(f"the service in {name} did not start:\n{said}")


def readable(folder: Path) -> Path:
    """Let everybody read a folder and what is in it, as the user of the image has to; the folder again."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder
