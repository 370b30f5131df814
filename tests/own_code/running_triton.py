"""A real tritonserver in a process of its own, on the CPU, from NVIDIA's PyPI package, without a container.

`nvidia-pytriton` brings the server (release 2.51, which is 24.10) and its Python back end, but no ONNX Runtime back
end: `triton_onnxruntime.py` stands in for that one. Their environment is `triton-server` of requirements-oracles.txt.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from oracles import environment

ENVIRONMENT = "triton-server"
STAND_IN = Path(__file__).with_name("triton_onnxruntime.py")
LIFE = 170  # seconds after which a server is killed, whatever becomes of the test
STARTED = re.compile(r"Started (GRPCInferenceService|HTTPService|Metrics Service) at 127\.0\.0\.1:(\d+)")


@dataclass
class RunningTriton:
    """A server that is ready.

    Attributes:
        log: Lines that it said so far.
    """

    http: int
    grpc: int
    metrics: int
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"


@contextlib.contextmanager
def running_triton(repository: Path, folder: Path, *options: str) -> Iterator[RunningTriton]:
    """A server for a model repository, from the moment that it listens to the end of the block.

    Args:
        repository: What it loads. It ends at once when one of the models can't be loaded.
        folder: Where its back ends are put together.
        *options: More words for its command line.
    """
    packages = _packages()
    release = packages / "pytriton" / "tritonserver"
    _put_back_ends_together(release, folder)
    words = [f"--model-repository={repository}", f"--backend-directory={folder}", "--exit-timeout-secs=10", *options]
    for kind, port in zip(("http", "grpc", "metrics"), _free_ports(3), strict=True):
        words += [f"--{kind}-address=127.0.0.1", f"--{kind}-port={port}"]
    libraries = [str(packages / "nvidia_pytriton.libs"), str(sysconfig.get_config_var("LIBDIR"))]
    process = subprocess.Popen(
        ["timeout", str(LIFE), str(release / "bin" / "tritonserver"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={
            **os.environ,
            "LD_LIBRARY_PATH": os.pathsep.join(libraries),
            "STAND_IN_PACKAGES": os.pathsep.join([str(packages), sysconfig.get_path("purelib")]),
        },
    )
    assert process.stdout
    stdout, log = process.stdout, list[str]()
    reader = threading.Thread(target=lambda: log.extend(iter(stdout.readline, "")), daemon=True)
    try:
        ports = _started(stdout, log)
        reader.start()
        yield RunningTriton(ports["HTTPService"], ports["GRPCInferenceService"], ports["Metrics Service"], log)
    finally:
        process.terminate()  # `timeout` passes it on
        process.wait(30)
        if reader.ident is not None:
            reader.join(30)
        stdout.close()


def _started(stdout: IO[str], log: list[str]) -> dict[str, int]:
    """Read the log until all three ports are open; they open after the models are loaded and warmed up."""
    ports: dict[str, int] = {}
    for line in stdout:
        log.append(line)
        if match := STARTED.search(line):
            ports[match[1]] = int(match[2])
        if len(ports) == 3:
            return ports
    raise AssertionError(f"tritonserver did not start:\n{''.join(log)}")


def _packages() -> Path:
    """Where the environment's own packages lie."""
    return Path(sysconfig.get_path("purelib", "venv", vars={"base": str(environment(ENVIRONMENT))}))


def _put_back_ends_together(release: Path, folder: Path) -> None:
    """Copies, no links: Triton refuses a library that lies elsewhere than its back end's folder."""
    python, stand_in = folder / "python", folder / "onnxruntime"
    shutil.copytree(release / "backends" / "python", python)
    stubs = release / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(stubs / "triton_python_backend_stub", python)
    stand_in.mkdir()
    shutil.copyfile(STAND_IN, stand_in / "model.py")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
