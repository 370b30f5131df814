"""The HTTP service on the GPU: `serve.device=cuda` beside `serve.device=cpu`, same answers, requests a second, latency.

Sixteen threads send one picture a request as raw pixels (.npy), for a second or two a device.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpu_parts._bundle import run_and_bundle
from gpu_parts._part import SCRIPTS, Place, run_part
from gpu_parts._rows import RowWriter, Skipped
from mlstack.bundle.folder import read_bundle
from mlstack.bundle.session import runtime
from mlstack.serving.client import Client, ClientError

CUDA = "CUDAExecutionProvider"
THREADS = 16
PICTURES = 64
PATIENCE = 30.0  # seconds until the service has to say where it listens


def measure(rows: RowWriter, place: Place) -> None:
    """Both devices, one after the other."""
    _, folder = run_and_bundle(place)
    shape = read_bundle(folder).metadata.input
    size = (PICTURES, shape.height, shape.width, shape.channels)
    pictures = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    speeds: dict[str, float] = {}
    answers: dict[str, list[Any]] = {}
    for device in ("cpu", "cuda"):
        with rows.attempt(f"service, serve.device={device}"):
            if device == "cuda" and CUDA not in runtime("serving").get_available_providers():
                raise Skipped("this onnxruntime has no CUDA provider: pip install onnxruntime-gpu in its place")
            with service(folder, device) as url:
                answers[device] = ask_once(url, pictures)
                speeds[device], times = load(url, pictures, 0.5 if place.dry else 3.0)
            against = {"ratio": speeds["cuda"] / speeds["cpu"], "against": "cpu"} if len(speeds) > 1 else {}
            note = f"p50 {median(times):.1f} ms, {THREADS} connections"
            rows.add(f"service, serve.device={device}", speeds[device], "requests/s", note=note, **against)
    if len(answers) > 1:
        most = float(np.abs(np.subtract(answers["cuda"], answers["cpu"])).max())
        rows.add("answers of the two", most, "probability", note="the greatest difference, of 64 pictures")


@contextmanager
def service(bundle: Path, device: str) -> Iterator[str]:
    """The service on a free port: its address.

    Raises:
        RuntimeError: It did not come up; with what it said last.
    """
    words = [f"bundle={bundle}", "serve.port=0", "serve.access_log=false", f"serve.device={device}"]
    command = [sys.executable, str(SCRIPTS / "serve.py"), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield address(process)
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()


def address(process: subprocess.Popen[str]) -> str:
    """What the service prints once it is ready."""
    assert process.stdout is not None
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    line = "nothing"
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            if "http://" in line:
                return "http://" + line.split("http://", 1)[1].split()[0].rstrip("/;,")
    finally:
        watchdog.cancel()
    raise RuntimeError(f"the service did not come up; it said last: {line.strip()}")


def ask_once(url: str, pictures: NDArray[np.uint8]) -> list[list[float]]:
    """The probabilities of every picture, in the classes' order."""
    with Client(url) as client:
        return [
            [one["probabilities"][name] for name in sorted(one["probabilities"])] for one in client.predict(pictures)
        ]


def load(url: str, pictures: NDArray[np.uint8], seconds: float) -> tuple[float, list[float]]:
    """Requests a second, and the milliseconds of each.

    Raises:
        RuntimeError: A request failed.
    """
    times: list[float] = []
    failures: list[ClientError] = []
    started = time.perf_counter()

    def ask(number: int) -> None:
        with Client(url) as client:
            while time.perf_counter() - started < seconds:
                begun = time.perf_counter()
                try:
                    client.predict(pictures[number % len(pictures)])
                except ClientError as error:
                    failures.append(error)
                    return
                times.append(1e3 * (time.perf_counter() - begun))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"{len(failures)} requests failed, the first with: {failures[0]}")
    return len(times) / (time.perf_counter() - started), times


if __name__ == "__main__":
    run_part(measure)
