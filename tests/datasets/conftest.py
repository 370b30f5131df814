"""Made-up data in the formats of the real sets, and a server that delivers them badly."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mlstack.datasets import cifar
from mlstack.datasets.fetch import RemoteFile

PER_FILE = 50


def write_cifar(folder: Path, name: str = "cifar10") -> Path:
    """The binary files of a small CIFAR set; picture i of a file is filled with values that depend on its label."""
    layout = cifar.LAYOUTS[name]
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for file in (*layout.train, layout.test):
        count = 400 if layout.classes == 100 else PER_FILE
        labels = np.arange(count) % layout.classes
        heads = np.repeat(labels[:, None], layout.label_bytes, axis=1)
        pixels = random.integers(0, 256, (count, cifar.PIXELS))
        np.concatenate([heads, pixels], axis=1).astype(np.uint8).tofile(folder / file)
    words = "\n".join(f"word{label}" for label in range(layout.classes))
    (folder / layout.names).write_text(words + "\n\n")
    return folder


def write_idx(folder: Path, train: int = 60, test: int = 20) -> Path:
    """Four small idx files of Fashion-MNIST."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for prefix, count in (("train", train), ("t10k", test)):
        pixels = random.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            header = bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            with gzip.open(folder / f"{prefix}-{kind}-ubyte.gz", "wb") as file:
                file.write(header + array.tobytes())
    return folder


def write_image(
    path: Path, *, size: tuple[int, int] = (40, 30), seed: int = 0, mode: str = "RGB", **options: object
) -> Path:
    """A smooth made-up picture of width × height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)
    image.save(path, **options)
    return path


def write_folder(
    root: Path, *, classes: tuple[str, ...] = ("cats", "dogs"), count: int = 12, suffix: str = "jpg"
) -> Path:
    """A folder with a folder for each class."""
    for label, name in enumerate(classes):
        for index in range(count):
            write_image(root / name / f"{index}.{suffix}", seed=label * 1000 + index)
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "photos")


class Server:
    """Serves bytes by name; the folder says how: /cut breaks off, /norange ignores Range, /garbage sends a web page."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.httpd.server_port}"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        way, name = handler.path.strip("/").rsplit("/", 1)
        asked = handler.headers.get("Range", "")
        self.requests.append((handler.path, asked))
        if name not in self.files:
            handler.send_error(404)
            return
        data = self.files[name] if way != "garbage" else b"<html>please log in</html>"
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and way != "norange" else 0
        body = data[start:]
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(data) // 3 + 1] if way == "cut" else body)


@pytest.fixture
def server() -> Iterator[Server]:
    serving = Server()
    thread = threading.Thread(target=serving.httpd.serve_forever, args=(0.01,))
    thread.start()
    yield serving
    serving.httpd.shutdown()
    serving.httpd.server_close()
    thread.join()


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    """A small cifar-10-binary.tar.gz."""
    source = write_cifar(tmp_path / "source" / "cifar-10-batches-bin")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(source, source.name)
    return packed.getvalue()


@pytest.fixture
def published(archive: bytes, server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Server]:
    """CIFAR-10 as if the small archive were the published one; its official address is a closed port."""

    def publish() -> Server:
        digest = hashlib.md5(archive, usedforsecurity=False).hexdigest()
        official = RemoteFile("http://127.0.0.1:9/cifar-10-binary.tar.gz", md5=digest, size=len(archive))
        layout = dataclasses.replace(cifar.LAYOUTS["cifar10"], archive=official)
        monkeypatch.setitem(cifar.LAYOUTS, "cifar10", layout)
        server.files[official.name] = archive
        return server

    return publish


@pytest.fixture
def make() -> type[Make]:
    return Make


class Make:
    """The writers above, for tests that take the fixture `make`."""

    cifar = staticmethod(write_cifar)
    idx = staticmethod(write_idx)
    image = staticmethod(write_image)
    folder = staticmethod(write_folder)
