"""Load from wrk: bodies of each kind, and what came back.

    python benchmarks/serving/load.py http://127.0.0.1:8000/predict application/json body.json --connections 64

wrk (https://github.com/wg/wrk, in Debian and Ubuntu a package of that name) costs a tenth of what a client in Python
does, so that it leaves the processor to the service.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SCRIPT = Path(__file__).parent / "wrk" / "post.lua"
RESULT = "RESULT "
BOUNDARY = "a-boundary-that-no-picture-holds"
PHOTOGRAPH = (500, 375)  # width and height in pixels: the usual ones of ImageNet
TIMEOUT = 60  # seconds that wrk waits for an answer


@dataclass(frozen=True)
class Body:
    """What is sent: a content type and several files of it, in turns."""

    content_type: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Load:
    """What came back.

    Attributes:
        requests: Answered ones, also those that were refused.
        seconds: That it took.
        p50_ms: Latency, as are the next three.
        refused: Answers that were no 200, by status.
        connect: Connections that failed; as do the next three, of other kinds.
    """

    requests: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    refused: Mapping[str, int] = field(default_factory=dict)
    connect: int = 0
    read: int = 0
    write: int = 0
    timeout: int = 0

    @property
    def per_second(self) -> float:
        """Requests a second that were answered with 200."""
        return (self.requests - sum(self.refused.values())) / self.seconds

    @property
    def failures(self) -> str:
        """What went wrong, in words; empty if nothing did."""
        lost = {name: getattr(self, name) for name in ("connect", "read", "write", "timeout")}
        return ", ".join(f"{count} × {name}" for name, count in {**self.refused, **lost}.items() if count)


def run_load(
    url: str, body: Body, *, connections: int, seconds: float, headers: Mapping[str, str] | None = None
) -> Load:
    """One turn of wrk with one thread.

    Args:
        url: Whole address.
        body: What is sent.
        connections: At once, each with one request on its way.
        seconds: How long.
        headers: Besides the content type.
    """
    settings = {
        **os.environ,
        "CONTENT_TYPE": body.content_type,
        "BODIES": ":".join(str(path) for path in body.files),
        "HEADERS": "\n".join(f"{name}: {value}" for name, value in (headers or {}).items()),
    }
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", f"--timeout={TIMEOUT}s", "-s", str(SCRIPT), url]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith(RESULT))
    return Load(**json.loads(line.removeprefix(RESULT)))


def rows_bodies(images: NDArray[np.uint8], folder: Path, *, protocol: str = "plain") -> Body:
    """One picture a request as JSON.

    Args:
        images: uint8 [n, height, width, channel].
        folder: Where the files are written.
        protocol: "plain" or "v2".
    """

    def text(image: NDArray[np.uint8]) -> str:
        if protocol == "plain":
            return json.dumps({"inputs": [image.tolist()]})
        tensor = {"name": "images", "datatype": "UINT8", "shape": [1, *image.shape], "data": image.ravel().tolist()}
        return json.dumps({"inputs": [tensor]})

    return _written("application/json", [text(image).encode() for image in images], folder / f"rows-{protocol}")


def base64_bodies(photographs: Sequence[bytes], folder: Path) -> Body:
    """One photograph a request as base64 in JSON."""
    texts = [json.dumps({"images": [base64.b64encode(one).decode()]}).encode() for one in photographs]
    return _written("application/json", texts, folder / "base64")


def raw_bodies(images: NDArray[np.uint8], folder: Path) -> Body:
    """One picture a request as its bytes; images uint8 [n, height, width, channel]."""
    return _written("application/octet-stream", [image.tobytes() for image in images], folder / "raw")


def upload_bodies(photographs: Sequence[bytes], folder: Path, *, field: str = "file") -> Body:
    """One photograph a request as multipart."""
    head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{field}"; filename="photo.jpg"\r\n'
    start, end = f"{head}content-type: image/jpeg\r\n\r\n".encode(), f"\r\n--{BOUNDARY}--\r\n".encode()
    whole = [start + one + end for one in photographs]
    return _written(f"multipart/form-data; boundary={BOUNDARY}", whole, folder / f"upload-{field}")


def photographs(count: int, *, size: tuple[int, int] = PHOTOGRAPH) -> list[bytes]:
    """JPEG files of about the bytes that photographs of this size have: smooth colours with fine grain on them."""
    draw = np.random.default_rng(0)
    files = []
    for _ in range(count):
        picture = np.zeros((size[1], size[0], 3))
        for cells, strength in ((4, 60), (16, 30), (64, 15), (200, 6)):
            noise = (draw.normal(0, strength, (cells, cells, 3)) + 128).clip(0, 255).astype(np.uint8)
            picture += np.asarray(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC), float) - 128
        file = io.BytesIO()
        Image.fromarray((picture + 128).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def _written(content_type: str, bodies: Sequence[bytes], folder: Path) -> Body:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}" for number in range(len(bodies))]
    for path, body in zip(paths, bodies, strict=True):
        path.write_bytes(body)
    return Body(content_type, tuple(paths))


def main() -> None:
    """One turn, printed."""
    parser = argparse.ArgumentParser(description="Send files to a service.")
    parser.add_argument("url")
    parser.add_argument("content_type")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5)
    given: Any = parser.parse_args()
    body = Body(given.content_type, tuple(given.files))
    load = run_load(given.url, body, connections=given.connections, seconds=given.seconds)
    print(f"{load.per_second:,.0f} requests/s, p50 {load.p50_ms:.1f} ms, p99 {load.p99_ms:.1f} ms  {load.failures}")


if __name__ == "__main__":
    main()
