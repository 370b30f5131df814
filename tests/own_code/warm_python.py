"""An executable that behaves like `python`, but has imported what takes seconds: a training framework.

    with warm_python(["mlstack.engines.lightning.engine"]) as python:
        subprocess.run([python, "scripts/train.py", "data=digits"])  # also -m MODULE, -c CODE; -u before it

The executable hands its arguments, environment, folder and standard streams to a server, which forks a child for them
from a process without other threads. It passes signals on, ends as the child ends, and takes the child along when it is
killed. To programs in the child, `sys.executable` is that executable again: a launcher's processes start as fast.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where a process is told its parent, to end with it: the child is the server's, and the client looks after its own.
PARENT_VARIABLE = "MLSTACK_PARENT"
CLIENT = """#!{python} -IS
import json, os, select, signal, socket, sys

parent = os.getppid()
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
request = json.dumps(dict(argv=sys.argv[1:], environment=dict(os.environ), folder=os.getcwd())).encode()
socket.send_fds(server, [len(request).to_bytes(4, "big")], [0, 1, 2])
server.sendall(request)
child = int.from_bytes(server.recv(4), "big", signed=True)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda number, frame: os.kill(child, number))
if {parent!r} in os.environ:
    while not select.select([server], [], [], 0.2)[0]:
        if os.getppid() != parent:
            os._exit(1)
status = int.from_bytes(server.recv(4), "big", signed=True)
if status < 0:
    if -status != signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
os._exit(status)
"""


@contextmanager
def warm_python(modules: Sequence[str]) -> Iterator[str]:
    """The path of such an executable that has imported some modules; it is there for as long as the block takes."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the name of a socket may have 100 bytes
        yield from _serving(Path(folder), modules)


def _serving(folder: Path, modules: Sequence[str]) -> Iterator[str]:
    address, program = folder / "socket", folder / "python"
    program.write_text(CLIENT.format(python=sys.executable, address=str(address), parent=PARENT_VARIABLE))
    program.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, __file__, str(address), str(program), *modules]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    assert server.stdin and server.stdout
    try:
        assert server.stdout.readline() == b"ready\n", "the server of warm_python.py has not started"
        yield str(program)
    finally:
        server.stdin.close()
        server.wait(timeout=30)
        server.stdout.close()


@dataclass(frozen=True)
class Job:
    """What one client asks for: `argv` as after `python`, and the file descriptors of its standard streams."""

    argv: list[str]
    environment: dict[str, str]
    folder: str
    streams: list[int]


class Server:
    """Forks a child for each client.

    Args:
        address: The socket's path.
    """

    def __init__(self, address: str) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(address)
        self.listener.listen(64)
        self.clients: dict[int, socket.socket] = {}  # by child
        self.woken, wake = socket.socketpair()
        self.woken.setblocking(False)
        wake.setblocking(False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno())

    def serve(self) -> Job | None:
        """Serve until standard input is closed: None. In a child: its job."""
        while True:
            ready, _, _ = select.select([0, self.listener, self.woken, *self.clients.values()], [], [])
            if 0 in ready:
                for child in self.clients:
                    os.kill(child, signal.SIGKILL)
                return None
            if self.woken in ready:
                self.woken.recv(1024)
                self._reap()
            self._end_orphans(ready)
            if self.listener in ready and (job := self._accept()):
                return job

    def _accept(self) -> Job | None:
        client, _ = self.listener.accept()
        size, streams, _, _ = socket.recv_fds(client, 4, 3)
        with client.makefile("rb") as file:
            request: dict[str, Any] = json.loads(file.read(int.from_bytes(size, "big")))
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            for one in (self.listener, self.woken, self._wake, client, *self.clients.values()):
                one.close()
            return Job(streams=streams, **request)
        for stream in streams:
            os.close(stream)
        self.clients[child] = client
        _tell(client, child)
        return None

    def _reap(self) -> None:
        while self.clients and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            client = self.clients.pop(ended[0])
            with client:
                _tell(client, os.waitstatus_to_exitcode(ended[1]))

    def _end_orphans(self, ready: Sequence[Any]) -> None:
        """A client says nothing once it has asked: one that can be read has been killed."""
        for child, client in self.clients.items():
            if client in ready and not client.recv(1):
                os.kill(child, signal.SIGKILL)


def _tell(client: socket.socket, number: int) -> None:
    with suppress(BrokenPipeError):  # it was killed
        client.sendall(number.to_bytes(4, "big", signed=True))


def run(job: Job, program: str, path: Sequence[str]) -> None:
    """Be what `python ARGUMENT…` would be."""
    for target, stream in enumerate(job.streams):
        os.dup2(stream, target)
        os.close(stream)
    os.chdir(job.folder)
    os.environ.clear()
    os.environ.update(job.environment)
    if PARENT_VARIABLE in os.environ:
        os.environ[PARENT_VARIABLE] = str(os.getppid())
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    argv, sys.executable = list(job.argv), program
    unbuffered = argv[0] == "-u"
    argv = argv[unbuffered:]
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", buffering=1 if unbuffered else -1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    inherited = list(filter(None, job.environment.get("PYTHONPATH", "").split(os.pathsep)))
    if argv[0] in ("-c", "-m"):
        sys.path[:] = ["" if argv[0] == "-c" else job.folder, *inherited, *path]
        sys.argv = [argv[0], *argv[2:]]
        if argv[0] == "-m":
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            exec(argv[1], {"__name__": "__main__"})
    else:
        sys.path[:] = [str(Path(argv[0]).resolve().parent), *inherited, *path]
        sys.argv = argv
        runpy.run_path(argv[0], run_name="__main__")


def _main(address: str, program: str, *modules: str) -> None:
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = [entry for entry in sys.path[1:] if entry not in inherited]
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is here already is never looked at again, so that children share its memory
    server = Server(address)
    os.write(1, b"ready\n")
    if (job := server.serve()) is not None:
        run(job, program, path)


if __name__ == "__main__":
    _main(*sys.argv[1:])
