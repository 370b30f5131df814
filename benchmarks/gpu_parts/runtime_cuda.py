"""A bundle in ONNX Runtime's CUDA provider: the same answers as on the processor? how fast at 1, 8 and 32 pictures?"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from gpu_parts._bundle import run_and_bundle
from gpu_parts._part import Place, run_part
from gpu_parts._rows import RowWriter, Skipped
from mlstack.bundle.answers import relative_error
from mlstack.bundle.folder import read_bundle
from mlstack.bundle.session import Session, runtime
from mlstack.utils.hardware import usable_cores

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
BATCHES = (1, 8, 32)
WARM_UP = 5  # calls: the CUDA provider looks for its convolutions in the first ones
CLOSE = 1e-2  # relative to the largest answer: GPUs round convolutions to TF32


def measure(rows: RowWriter, place: Place) -> None:
    """Answers and latencies of both providers, in turns."""
    providers = runtime("a bundle").get_available_providers()
    _, folder = run_and_bundle(place)
    path = read_bundle(folder).model("fp32")
    on_cpu = Session(path, threads=usable_cores())
    height, width, channels = (int(size or 32) for size in on_cpu.shape)
    pictures = np.random.default_rng(0).integers(0, 256, (max(BATCHES), height, width, channels), np.uint8)
    sessions = {"processor": on_cpu}
    with rows.attempt("CUDA provider: answers against the processor's"):
        sessions["CUDA"] = cuda_session(path, providers)
        error = relative_error(sessions["CUDA"].run(pictures).output, on_cpu.run(pictures).output)
        verdict = "close" if error <= CLOSE else "TOO FAR"
        rows.add("CUDA provider: answers against the processor's", error, "relative", note=f"{verdict}, bar {CLOSE:g}")
    for batch in BATCHES:
        took: dict[str, float] = {}
        for name, session in sessions.items():
            took[name] = milliseconds(partial(session.run, pictures[:batch]), place)
            faster = {"ratio": took["processor"] / took[name], "against": "the processor"} if name == "CUDA" else {}
            rows.add(f"{name}, batch {batch}", took[name], "ms", **faster)


def cuda_session(path: Path, providers: list[str]) -> Session:
    """A session on the GPU.

    Raises:
        Skipped: ONNX Runtime has no CUDA provider, or it could not be started.
    """
    if CUDA not in providers:
        here = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
        raise Skipped(f"this onnxruntime has {here} alone: pip install onnxruntime-gpu in its place")
    session = Session(path, providers=(CUDA, CPU))
    if session.provider != CUDA:
        raise Skipped("the CUDA provider is there, but does not start: its CUDA or cuDNN libraries are not found")
    return session


def milliseconds(call: Callable[[], object], place: Place) -> float:
    """Of one call, the median."""
    for _ in range(WARM_UP):
        call()
    times: list[float] = []
    until = time.perf_counter() + (0.1 if place.dry else 0.7)
    while time.perf_counter() < until or len(times) < 3:
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return median(times)


if __name__ == "__main__":
    run_part(measure)
