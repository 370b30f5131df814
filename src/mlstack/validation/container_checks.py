"""Whether stage 2 can run here: a container program, an engine that answers, the right to ask it, GPUs inside.

Nothing of this is needed for training: what is missing is a warning, with the command that mends it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mlstack.validation.machine import Check

PROGRAMS = ("docker", "podman")
SOCKET = Path("/var/run/docker.sock")
ANSWER_WITHIN = 10  # seconds; an engine in trouble can keep its clients waiting for minutes
GPU_TOOLS = ("nvidia-ctk", "nvidia-container-runtime", "nvidia-container-cli")
INSTALL_GPU_TOOL = (
    "sudo apt-get install nvidia-container-toolkit && sudo nvidia-ctk runtime configure --runtime=docker "
    "&& sudo systemctl restart docker"
)


def check_containers(*, has_gpu: bool) -> Iterator[Check]:
    """One line for the engine; one more for its GPUs where this machine has one."""
    program = next((name for name in PROGRAMS if shutil.which(name)), None)
    if program is None:
        yield Check("containers", "warn", "neither docker nor podman is installed", "sudo apt-get install docker.io")
        return
    yield check_engine(program)
    if has_gpu:
        yield check_gpu_tool()


def check_engine(program: str) -> Check:
    """Whether the engine behind `docker` or `podman` answers this user."""
    field = "{{.Server.Version}}" if program == "docker" else "{{.Client.Version}}"
    command = [program, "version", "--format", field]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_WITHIN, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Check("containers", "warn", f"{program} has not answered in {ANSWER_WITHIN} s", restart(program))
    if answer.returncode == 0:
        return Check("containers", "ok", f"{program} {answer.stdout.strip()}, the engine answers")
    socket = docker_socket()
    if program == "docker" and socket and socket.exists() and not os.access(socket, os.R_OK | os.W_OK):
        remedy = "sudo usermod -aG docker $USER && newgrp docker"
        return Check("containers", "warn", f"docker: this user may not use {socket}", remedy)
    reason = next(iter(answer.stderr.strip().splitlines()), f"exit status {answer.returncode}")
    return Check("containers", "warn", f"the engine of {program} does not answer: {reason}", restart(program))


def docker_socket() -> Path | None:
    """The file through which docker asks its engine; None where DOCKER_HOST names another machine."""
    host = os.environ.get("DOCKER_HOST", f"unix://{SOCKET}")
    return Path(host.removeprefix("unix://")) if host.startswith("unix://") else None


def restart(program: str) -> str:
    """What starts an engine; podman has none of its own."""
    return "sudo systemctl start docker" if program == "docker" else "podman info"


def check_gpu_tool() -> Check:
    """Whether containers can be given this machine's GPUs."""
    if tool := next((name for name in GPU_TOOLS if shutil.which(name)), None):
        return Check("container gpus", "ok", f"{tool} is installed")
    return Check("container gpus", "warn", "the NVIDIA container toolkit is not installed", INSTALL_GPU_TOOL)
