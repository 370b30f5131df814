"""Two "hosts" on one machine: network namespaces with a cable between them, as root and with Debian's iproute2.

A host sees its own `lo` and `eth0` and nothing else; its files are those of the machine, which makes them a shared
folder. Namespaces and cable have names of their own and are gone in the end, with every process that runs in them.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

INTERFACE = "eth0"
IP = 10  # seconds that `ip` may take


@dataclass
class Host:
    """One end of the cable.

    Attributes:
        namespace: Its name.
        address: Of its interface.
        started: What `start` has started.
    """

    namespace: str
    address: str
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: str, said: Path, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Run a program on this host; what it says is added to a file."""
        with said.open("ab") as file:
            words = ["ip", "netns", "exec", self.namespace, *command]
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd=cwd, env={**os.environ, **env}
            )
        self.started.append(process)
        return process

    def lose(self) -> None:
        """Kill every process of this host at once, as a crash would."""
        while numbers := _ip("netns", "pids", self.namespace).split():
            for number in numbers:
                try:
                    os.kill(int(number), signal.SIGKILL)
                except ProcessLookupError:
                    continue
            for process in self.started:
                process.wait(IP)


def cut_power(lost: Host, other: Host) -> None:
    """End a host without a word: the other one hears of no connection that it has ended. Then switch it on again."""
    _ip("-n", lost.namespace, "link", "set", INTERFACE, "down")
    lost.lose()
    _ip("-n", lost.namespace, "link", "del", INTERFACE)  # and the other end of the cable
    _ip("netns", "del", lost.namespace)  # and what its kernel still had to say
    _ip("netns", "add", lost.namespace)
    _connect(lost, other)


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach each other, for the length of a `with` block."""
    name = f"mltest-h-{secrets.token_hex(3)}"
    hosts = Host(f"{name}-a", "10.213.0.1"), Host(f"{name}-b", "10.213.0.2")
    try:
        for host in hosts:
            _ip("netns", "add", host.namespace)
        _connect(*hosts)
        yield hosts
    finally:
        existing = _ip("netns", "list")
        for host in hosts:
            if host.namespace in existing:
                host.lose()
                _ip("netns", "del", host.namespace)  # the cable goes with it


def _connect(*hosts: Host) -> None:
    one, other = (("name", INTERFACE, "netns", host.namespace) for host in hosts)
    _ip("link", "add", *one, "type", "veth", "peer", *other)
    for host in hosts:
        _ip("-n", host.namespace, "addr", "add", f"{host.address}/24", "dev", INTERFACE)
        for name in ("lo", INTERFACE):
            _ip("-n", host.namespace, "link", "set", name, "up")


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=IP).stdout
