"""Where pip looks in a build: the mirror that this machine's pip uses, and packages that lie on its disk.

`pip config list` is asked. A mirror on the network is handed on as the build argument PIP_INDEX_URL. Folders that hold
a package index (file:///…/simple) can't be seen from inside a build: they are served on 127.0.0.1 while it runs, for
the big packages of the `train` image.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

PYPI = "https://pypi.org/simple"
FIRST_PORT = 18751  # the same one each time, if it is free: it is part of what a build's cache goes by


def pip_addresses(option: str) -> list[str]:
    """What pip is told by its files and its environment, such as `index-url`; the last one that tells counts."""
    words = [sys.executable, "-m", "pip", "config", "list"]
    told = subprocess.run(words, capture_output=True, text=True, check=False).stdout
    found: list[str] = []
    for line in told.splitlines():
        name, _, value = line.partition("=")
        if name.rpartition(".")[2] == option:
            found = value.strip("'\"").replace("\\n", " ").split()
    return found


def mirror() -> dict[str, str]:
    """The build argument for a mirror of PyPI; none where pip uses PyPI."""
    addresses = [address for address in pip_addresses("index-url") if address.startswith("http")]
    return {"PIP_INDEX_URL": addresses[0]} if addresses else {}


@contextlib.contextmanager
def local_packages() -> Iterator[dict[str, str]]:
    """Build arguments that let pip find this machine's own packages first, as long as the block lasts."""
    every = pip_addresses("extra-index-url") + pip_addresses("index-url")
    folders = [Path(unquote(urlsplit(one).path)) for one in every if one.startswith("file:")]
    folders = [folder for folder in folders if folder.is_dir()]
    if not folders:
        yield mirror()
        return
    with contextlib.ExitStack() as closing:
        addresses = [closing.enter_context(served(folder, FIRST_PORT + n)) for n, folder in enumerate(folders)]
        first, *others = [*reversed(addresses), mirror().get("PIP_INDEX_URL", PYPI)]
        yield {"PIP_INDEX_URL": first, "PIP_EXTRA_INDEX_URL": " ".join(others)}


@contextlib.contextmanager
def served(index: Path, port: int) -> Iterator[str]:
    """An index's address on 127.0.0.1. Its links may lead beside it (`../../files/…`): the folder above is served."""
    handler = functools.partial(_Quiet, directory=str(index.parent))
    server = _server(port, handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/{index.name}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _server(port: int, handler: functools.partial[_Quiet]) -> http.server.ThreadingHTTPServer:
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError:  # taken
        return http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Files, without a line for each."""

    def log_message(self, *_: object) -> None:
        pass
