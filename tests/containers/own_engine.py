"""A throw-away container engine: Debian's docker.io, started by hand in a temporary folder, gone with all its images.

Nothing of the machine's own settings is touched: no systemd, no /var/lib/docker, its own socket. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from engine import EngineError

DAEMON = "/usr/sbin/dockerd"
NEEDED = "docker.io"
IF_KNOWN = ("docker-cli", "docker-buildx")  # parts of their own since Debian 13
START_SECONDS = 60
STOP_SECONDS = 30
BRIDGE = "mltest0"
BRIDGE_ADDRESS = "10.213.0.1/24"
POOL = "base=10.214.0.0/16,size=24"  # for networks that tests make


def install() -> None:
    """Install Debian's engine where it is missing.

    Raises:
        EngineError: This is not root, or not Debian; it says what else helps.
    """
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise EngineError(
            "no container engine answers: start Docker, or set DOCKER_HOST; as root on Debian one would be installed"
        )
    if not Path(DAEMON).exists():
        install_packages(NEEDED, if_known=IF_KNOWN)


def install_packages(*names: str, if_known: tuple[str, ...] = ()) -> None:
    """`apt-get install`, with fresh lists.

    Raises:
        EngineError: It failed.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}

    def apt(*words: str) -> None:
        done = subprocess.run(
            ["apt-get", "-qq", *words], env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode:
            raise EngineError(f"apt-get {' '.join(words)}: exit status {done.returncode}\n{done.stderr[-2000:]}")

    apt("update")
    known = [
        name for name in if_known if subprocess.run(["apt-cache", "show", name], capture_output=True).returncode == 0
    ]
    apt("install", "-y", "--no-install-recommends", *names, *known)


@contextlib.contextmanager
def started() -> Iterator[str]:
    """An engine as long as the block lasts; yields its address.

    Two engines of one machine write the same packet filter, and each gives out the addresses of docker0. So beside
    another one this engine has a bridge of its own and leaves the filter alone: its containers are reached from this
    machine and from each other, and reach nothing outside.

    Raises:
        EngineError: It doesn't start; the message holds the end of its log.
    """
    folder = Path(tempfile.mkdtemp(prefix="mlstack-engine-"))
    address = f"unix://{folder}/docker.sock"
    alone = not another_runs()
    words = [DAEMON, "--data-root", folder / "data", "--exec-root", folder / "exec", "--pidfile", folder / "pid"]
    words += ["--host", address, "--storage-driver", "overlay2", "--log-level", "warn", "--default-address-pool", POOL]
    try:
        with contextlib.ExitStack() as closing:
            if not alone:
                closing.enter_context(bridge())
                words += ["--bridge", BRIDGE, "--iptables=false", "--ip6tables=false"]
            log = closing.enter_context((folder / "log").open("w"))
            daemon = subprocess.Popen(
                [str(word) for word in words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            closing.callback(stop, daemon)
            wait_for(daemon, folder)
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def another_runs() -> bool:
    """Whether some engine runs on this machine."""
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if path.read_text().strip() == "dockerd":
                return True
    return False


@contextlib.contextmanager
def bridge() -> Iterator[None]:
    """A network bridge of our own."""

    def ip(*words: str) -> None:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise EngineError(f"ip {' '.join(words)}: {done.stderr.strip()}")

    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("address", "add", BRIDGE_ADDRESS, "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        yield
    finally:
        ip("link", "delete", BRIDGE)


def wait_for(daemon: subprocess.Popen[bytes], folder: Path) -> None:
    """Until its socket is there: it is made last.

    Raises:
        EngineError: It ended, or took too long.
    """
    last = time.monotonic() + START_SECONDS
    while not (folder / "docker.sock").exists():
        if daemon.poll() is not None or time.monotonic() > last:
            raise EngineError(f"{DAEMON} does not start:\n{(folder / 'log').read_text()[-3000:]}")
        time.sleep(0.1)


def stop(daemon: subprocess.Popen[bytes]) -> None:
    """End it and what it started: SIGTERM stops its containers first."""
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()
