"""The container program of this machine, called as a user would call it: docker or podman, whichever is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mlstack.errors import ContainerError

PROGRAMS = ("docker", "podman")
ASK_TIMEOUT_S = 60.0
OWN_MACHINE = ("", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ContainerProgram:
    """A program that reaches an engine.

    Attributes:
        path: Of the program.
        version: Of the engine.
    """

    path: str
    version: str

    @property
    def name(self) -> str:
        return Path(self.path).name

    def run(self, *words: str, text: str = "", timeout_s: float | None = ASK_TIMEOUT_S) -> str:
        """What `docker WORDS` prints.

        Args:
            words: Arguments.
            text: For its standard input.
            timeout_s: How long it may take, in seconds; None = as long as it takes.

        Raises:
            ContainerError: It ended with another status than 0, or not in time.
        """
        return ask(self.path, *words, text=text, timeout_s=timeout_s)

    def build(
        self, root: Path, dockerfile: Path, *, target: str, image: str, log: Path,
        arguments: Mapping[str, object], network: str,
    ) -> None:  # fmt: skip
        """Build one target; what the builder says goes to `log`.

        Args:
            root: Folder that is sent to the engine.
            dockerfile: What is built.
            target: Stage of it.
            image: Name of the result.
            log: Text file, written anew.
            arguments: Build arguments.
            network: Of the steps that download.

        Raises:
            ContainerError: It can't be built; with the builder's last words.
        """
        pairs = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        command = [self.path, "build", "--network", network, *pairs, "--target", target, "--tag", image]
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as file:
            status = subprocess.run(
                [*command, "--file", str(dockerfile), str(root)],
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False,
                env={**os.environ, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"},
            ).returncode  # fmt: skip
        if status != 0:
            raise ContainerError(
                f"{image} can't be built: {last_line(log.read_text(encoding='utf-8', errors='replace'))}",
                hint=f"all that the builder said: {log}\na mirror of PyPI: "
                "'docker.build_args={PIP_INDEX_URL:https://…/simple}'",
            )

    def has_image(self, image: str) -> bool:
        """Whether an image of that name is there."""
        try:
            self.run("image", "inspect", "--format", "{{.Id}}", image)
        except ContainerError:
            return False
        return True

    def image_bytes(self, image: str) -> int:
        """Size of an image, uncompressed, with all its layers."""
        return int(self.run("image", "inspect", "--format", "{{.Size}}", image))

    def image_label(self, image: str, label: str) -> str:
        """A label's value, empty where the image has none."""
        return self.run("image", "inspect", "--format", f'{{{{index .Config.Labels "{label}"}}}}', image).strip()

    def logs(self, container: str) -> str:
        """The last that a container has said, on both streams; empty where it can't be had."""
        return subprocess.run(
            [self.path, "logs", "--tail", "20", container], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=ASK_TIMEOUT_S,
        ).stdout  # fmt: skip

    def remove(self, container: str) -> None:
        """Stop and remove a container with the volumes that were made for it; one that is not there is no mistake."""
        subprocess.run(
            [self.path, "rm", "--force", "--volumes", container],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=ASK_TIMEOUT_S,
            start_new_session=True,  # a second Ctrl-C reaches us, and not what tidies up
        )  # fmt: skip


def find_program(choice: str) -> ContainerProgram:
    """The container program whose engine answers.

    Args:
        choice: `docker`, `podman`, or `auto` for the first of them that is installed.

    Raises:
        ContainerError: None is installed, its engine does not answer, or it stands on another machine.
    """
    found = next((path for name in PROGRAMS if choice in ("auto", name) and (path := shutil.which(name))), None)
    if found is None:
        names = " or ".join(PROGRAMS) if choice == "auto" else choice
        raise ContainerError(
            f"stage 2 needs {names}, and this machine has none", hint="https://docs.docker.com/engine/install/"
        )
    refuse_another_machine(os.environ.get("DOCKER_HOST", ""))
    try:
        form = "{{.Server.Version}}" if Path(found).name == "docker" else "{{.Client.Version}}"
        return ContainerProgram(found, ask(found, "version", "--format", form).strip())
    except ContainerError as error:
        raise ContainerError(
            f"no container engine answers {found}: {error.message}", hint=way_out(error.message)
        ) from None


def refuse_another_machine(host: str) -> None:
    """Stage 2 mounts the bundle and asks at 127.0.0.1.

    Args:
        host: `DOCKER_HOST`, such as `unix:///run/docker.sock` or `ssh://server`.

    Raises:
        ContainerError: The engine stands elsewhere.
    """
    address = urlsplit(host)
    if address.scheme != "unix" and address.hostname not in (None, *OWN_MACHINE):
        raise ContainerError(
            f"DOCKER_HOST={host} is another machine, and stage 2 mounts a folder of this one",
            hint="run it there, or: unset DOCKER_HOST",
        )


def way_out(words: str) -> str:
    """What to do about an engine that does not answer, by what its program said."""
    if "permission denied" in words.lower():
        return "this user may not use it: sudo usermod -aG docker $USER, then log in anew"
    return "start it: sudo systemctl start docker; or say where it listens: export DOCKER_HOST=unix:///path/docker.sock"


def ask(program: str, *words: str, text: str = "", timeout_s: float | None = ASK_TIMEOUT_S) -> str:
    """What a program prints; see `ContainerProgram.run`."""
    try:
        answer = subprocess.run(
            [program, *words], input=text, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired:
        raise ContainerError(f"{shown(program, words)}: no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise ContainerError(f"{program} can't be started: {error.strerror or error}") from error
    if answer.returncode != 0:
        raise ContainerError(f"{shown(program, words)}: {last_line(answer.stderr or answer.stdout)}")
    return answer.stdout


def shown(program: str, words: Sequence[str]) -> str:
    """The beginning of a command, for a message."""
    return " ".join([Path(program).name, *words[:2]])


def last_line(text: str) -> str:
    """The line of a program's output that tells most: the last one that says `error`, or else the last one."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).splitlines() if line.strip()]
    told = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    return (told or lines or ["it said nothing"])[-1]
