"""Processor time to the first answer, and memory: `python benchmarks/serving/startup.py BUNDLE`.

Each precision is started `--starts` times (5) and asked one picture; the median counts. The last start then answers 100
pictures one after the other, and 64 connections for 10 seconds. A start that is not counted comes first, as on any
machine where the service ran before: it leaves Python's compiled files behind, in a folder of their own. Half a minute
a precision. Expect about 0.8 s of processor, and 150 MB after the load with a ResNet-18 in 32 bits.

Exit status 1 where a bar is missed: 1.0 s of processor time from the start of Python to the first answer, and 160 MB.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from load import raw_bodies, run_load
from process import cpu_seconds, machine_load, peak_mb, resident_mb, thread_count
from services import ROOT, announced, end

from mlstack.bundle.folder import read_bundle
from mlstack.bundle.metadata import PictureInput

CPU_BAR = 1.0  # seconds
MEMORY_BAR = 160.0  # MB
CONNECTIONS = 64
SECONDS = 10


def main() -> int:
    """One table, a line a precision."""
    parser = argparse.ArgumentParser(description="Measure what a start costs.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--precisions", default="", help="such as fp32,int8; all that the bundle has if left out")
    parser.add_argument("--starts", type=int, default=5)
    given = parser.parse_args()
    bundle = read_bundle(given.bundle)
    precisions = [one for one in given.precisions.split(",") if one] or [
        one.precision for one in bundle.metadata.models
    ]
    images = pictures(bundle.metadata.input, 16)
    print(f"{machine_load()}; bars: {CPU_BAR} s, {MEMORY_BAR:.0f} MB after the load\n")
    print("| precision | CPU s to the answer | all starts | wall s | MB then | after 100 | after 64 | peak | threads |")
    print("|---|---|---|---|---|---|---|---|---|")
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        with service(given.bundle, ["serve.device=cpu"], Path(folder)):  # leaves the compiled files
            pass
        for precision in precisions:
            missed += measure(given.bundle, precision, images, given.starts, Path(folder))
    print()
    for line in missed:
        print(f"missed: {line}")
    print(machine_load())
    return 1 if missed else 0


def measure(bundle: Path, precision: str, images: np.ndarray, starts: int, folder: Path) -> list[str]:
    """One line of the table; what missed its bar."""
    settings = [f"serve.precision={precision}", "serve.device=cpu"]
    body = images[0].tobytes()
    spent, waited = [], []
    for number in range(starts):
        began = time.perf_counter()
        with service(bundle, settings, folder) as (url, process):
            pid = process.pid
            ask(url, [body])
            spent.append(cpu_seconds(pid))
            waited.append(time.perf_counter() - began)
            if number < starts - 1:
                continue
            first = resident_mb(pid)
            ask(url, [image.tobytes() for image in images] * (100 // len(images)))
            hundred = resident_mb(pid)
            run_load(url + "/predict", raw_bodies(images, folder), connections=CONNECTIONS, seconds=SECONDS)
            loaded, peak, threads = resident_mb(pid), peak_mb(pid), thread_count(pid)
    cpu = statistics.median(spent)
    each = " ".join(f"{one:.2f}" for one in sorted(spent))
    memory = f"{first:.0f} | {hundred:.0f} | {loaded:.0f} | {peak:.0f} | {threads}"
    print(f"| {precision} | {cpu:.2f} | {each} | {statistics.median(waited):.2f} | {memory} |", flush=True)
    missed = []
    if cpu > CPU_BAR:
        missed.append(f"{precision}: {cpu:.2f} s of processor time to the first answer")
    if max(hundred, loaded) > MEMORY_BAR:
        missed.append(f"{precision}: {max(hundred, loaded):.0f} MB")
    return missed


@contextmanager
def service(bundle: Path, settings: Sequence[str], folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The service, with Python's compiled files in `folder`, so that a start does not depend on who ran it before."""
    command = [sys.executable, str(ROOT / "scripts" / "serve.py"), f"bundle={bundle}", "serve.port=0"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        [*command, "serve.access_log=false", *settings],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**environment, "PYTHONPYCACHEPREFIX": str(folder / "compiled")},
    )
    try:
        yield announced(process), process
    finally:
        end(process)


def ask(url: str, bodies: Sequence[bytes]) -> None:
    """Ask for pictures one after the other, on one connection."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        for body in bodies:
            connection.request("POST", "/predict", body, {"content-type": "application/octet-stream"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{answer.status}: {text[:200]!r}")
    finally:
        connection.close()


def pictures(picture: PictureInput, count: int) -> np.ndarray:
    """Noise: uint8 [n, height, width, channel]."""
    shape = (count, picture.height, picture.width, picture.channels)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


if __name__ == "__main__":
    sys.exit(main())
