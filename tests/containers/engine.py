"""The container engine that tests build and run images with: one that answers, or one of their own.

    python tests/containers/engine.py build-serve       # ml-serve:latest; an engine is started where none answers
    python tests/containers/engine.py build-train       # ml-cpu:latest (minutes, several GB)

An engine that answers at DOCKER_HOST or at its usual place is used as it is and left running. Where none does, root on
Debian gets a throw-away one for as long as this takes: Debian's docker.io is installed, see own_engine.py. What the
images are based upon is chosen by base_image.py, where pip looks by package_index.py. Needs Python alone.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVE, TRAIN = "ml-serve:latest", "ml-cpu:latest"
DOCKERFILE = "deploy/cpu/Dockerfile"
CLIENTS = ("docker", "/usr/bin/docker", "/usr/local/bin/docker")
BUILD_SECONDS = 1800


class EngineError(Exception):
    """There is no engine, or a command of it failed; the message holds the end of what it said."""


@dataclass
class Docker:
    """An engine that answers.

    Attributes:
        program: The client, one that builds with BuildKit.
        host: The engine's address, such as unix:///var/run/docker.sock; None = the client's own choice.
    """

    program: str
    host: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """In which the client, and others such as Compose, find this engine."""
        return {**os.environ, "DOCKER_BUILDKIT": "1", **({"DOCKER_HOST": self.host} if self.host else {})}

    @functools.cached_property
    def base(self) -> str:
        """The Python image to build upon, see base_image.py."""
        from base_image import python_image

        return python_image(self)

    def run(self, *words: str | Path, timeout: float = 120, check: bool = True) -> str:
        """`docker WORDS`: what it printed on stdout, without the last line break.

        Args:
            *words: The command line behind `docker`.
            timeout: Seconds it may take.
            check: Raise where the exit status is not 0.

        Raises:
            EngineError: The exit status was not 0.
        """
        done = self.process(*words, timeout=timeout)
        if check and done.returncode:
            raise EngineError(
                f"docker {' '.join(map(str, words))}: exit status {done.returncode}\n{done.stderr[-4000:]}"
            )
        return done.stdout.rstrip("\n")

    def process(self, *words: str | Path, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """The same, with exit status, stdout and stderr for one's own judgement."""
        command = [self.program, *map(str, words)]
        return subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
        )

    def answers(self) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process("info", timeout=20).returncode == 0
        return False

    def has_image(self, image: str) -> bool:
        return self.process("image", "inspect", image).returncode == 0

    def build(
        self,
        target: str,
        tag: str,
        *,
        dockerfile: str = DOCKERFILE,
        arguments: Mapping[str, str] | None = None,
        context: Path = ROOT,
    ) -> str:
        """Build an image, with the host's network.

        Args:
            target: Stage of the Dockerfile; empty = the last one.
            tag: Its name.
            dockerfile: Relative to the context.
            arguments: Build arguments.
            context: What the build may see.

        Returns:
            What the build said.

        Raises:
            EngineError: It failed; the message holds its last lines.
        """
        words = ["build", "--progress=plain", "--network", "host", "-t", tag, "-f", str(context / dockerfile)]
        words += ["--target", target] if target else []
        for name, value in (arguments or {}).items():
            words += ["--build-arg", f"{name}={value}"]
        done = self.process(*words, str(context), timeout=BUILD_SECONDS)
        if done.returncode:
            raise EngineError(f"docker {' '.join(words)}: exit status {done.returncode}\n{done.stderr[-6000:]}")
        return done.stderr

    def size(self, image: str) -> int:
        """Bytes of an image, uncompressed."""
        return int(self.run("image", "inspect", "--format", "{{.Size}}", image))


@contextlib.contextmanager
def running_engine() -> Iterator[Docker]:
    """The engine that answers, or one of our own until the block ends.

    Raises:
        EngineError: None answers and none can be started; it says what to do.
    """
    client = find_client()
    if client is not None:
        docker = Docker(client, os.environ.get("DOCKER_HOST"))
        if docker.answers():
            yield docker
            return
    from own_engine import install, started

    install()
    client = find_client()
    if client is None:
        raise EngineError(f"none of these builds with BuildKit: {', '.join(CLIENTS)}; install docker-buildx")
    with started() as address:
        yield Docker(client, address)


def find_client() -> str | None:
    """A program `docker` that builds with BuildKit: up to 20.10 it does by itself, later ones need buildx."""
    for name in CLIENTS:
        program = shutil.which(name)
        if program is None:
            continue
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
        major = told.removeprefix("Docker version ").partition(".")[0]
        old = major.isdigit() and int(major) < 23
        if old or subprocess.run([program, "buildx", "version"], capture_output=True, check=False).returncode == 0:
            return program
    return None


def commit() -> str:
    """Of this checkout, for the label; "unknown" outside of git."""
    with contextlib.suppress(OSError):
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip() or "unknown"
    return "unknown"


def build_serve(docker: Docker) -> str:
    """Build the `serve` image; its name."""
    from package_index import mirror

    docker.build("serve", SERVE, arguments={"PYTHON_IMAGE": docker.base, "REVISION": commit(), **mirror()})
    return SERVE


def build_train(docker: Docker) -> str:
    """Build the `train` image, from packages of this machine's disk where pip knows of any; its name."""
    from package_index import local_packages

    with local_packages() as index:
        docker.build("train", TRAIN, arguments={"PYTHON_IMAGE": docker.base, "REVISION": commit(), **index})
    return TRAIN


def main() -> int:
    """Build one image, and say how long each part took."""
    builders = {"build-serve": build_serve, "build-train": build_train}
    if len(sys.argv) != 2 or sys.argv[1] not in builders:
        print(f"usage: {sys.argv[0]} {'|'.join(builders)}", file=sys.stderr)
        return 2
    began = time.monotonic()
    try:
        with running_engine() as docker:
            print(f"an engine answers after {time.monotonic() - began:.0f} s", flush=True)
            image = builders[sys.argv[1]](docker)
            print(f"{image}: {docker.size(image) / 1e6:.1f} MB, after {time.monotonic() - began:.0f} s")
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
