"""Ask a bundle's ONNX file about pictures, by ONNX Runtime."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.errors import BundleError, MissingPackageError
from mlstack.utils.hardware import cpu_flags

ONNXRUNTIME_PIN = "onnxruntime==1.31.1"
INPUT = "images"
FEATURES = "features"
OUTPUTS = ("probabilities", "values")
EXACT_INT8 = frozenset({"avx512_vnni", "avx_vnni", "asimd"})  # flags of processors that sum up in 32 bits
ERRORS_ONLY = 3  # ONNX Runtime's log levels: 0 verbose to 4 fatal


@dataclass(frozen=True)
class SessionAnswers:
    """What a model file answers.

    Attributes:
        output: float32 [n, answer]: probabilities, or of a regression values in the targets' own units.
        features: float32 [n, feature], what the head sees.
    """

    output: NDArray[np.float32]
    features: NDArray[np.float32]


class Session:
    """One ONNX file, loaded. Threads don't spin while they wait: that costs 1.06 to 2.8 times on a shared machine.

    Args:
        path: The file.
        threads: Threads of one call.
        optimize: Let ONNX Runtime rewrite the graph for this machine; False = run it as it stands in the file.
        providers: Where it runs, in the order of preference; those that the runtime doesn't have are left out.

    Attributes:
        shape: Height, width and channels of a picture; None where the file leaves one open.
        batch: The only number of images a call takes; None = any.
        provider: Where it runs: ONNX Runtime may fall back to the processor where another one can't be started.

    Raises:
        BundleError: The file can't be loaded, or keeps another contract than a bundle's.
        MissingPackageError: onnxruntime is not installed.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 1,
        optimize: bool = True,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> None:
        self.path = path
        self.threads = threads
        self._session = _load(path, threads=threads, optimize=optimize, providers=providers)
        inputs = {one.name: one for one in self._session.get_inputs()}
        names = [one.name for one in self._session.get_outputs()]
        outputs = [name for name in names if name in OUTPUTS]
        if list(inputs) != [INPUT] or inputs[INPUT].type != "tensor(uint8)" or len(inputs[INPUT].shape) != 4:
            found = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs.values())
            raise BundleError(f"{path} has to take {INPUT}: uint8 [batch, height, width, channel], not {found}")
        if len(outputs) != 1 or FEATURES not in names:
            wanted = f"{' or '.join(OUTPUTS)}, and {FEATURES}"
            raise BundleError(f"{path} has to answer {wanted}, not {', '.join(names)}")
        batch, *shape = (size if isinstance(size, int) else None for size in inputs[INPUT].shape)
        self.batch: int | None = batch
        self.shape: tuple[int | None, ...] = tuple(shape)
        self.output: str = outputs[0]
        self.provider: str = self._session.get_providers()[0]

    def run(self, images: NDArray[np.uint8]) -> SessionAnswers:
        """Answers for pictures: of a model with a fixed batch in as many calls as it takes, otherwise in one.

        Args:
            images: uint8 [n, height, width, channel], n ≥ 1.

        Raises:
            BundleError: The model can't be run on them; the line tells their shape.
        """
        if self.batch is None or len(images) == self.batch:
            return self._call(images)
        missing = -len(images) % self.batch
        padded = np.concatenate([images, np.zeros((missing, *images.shape[1:]), np.uint8)])
        starts = range(0, len(padded), self.batch)
        parts = [self._call(padded[start : start + self.batch]) for start in starts]
        return SessionAnswers(
            output=np.concatenate([part.output for part in parts])[: len(images)],
            features=np.concatenate([part.features for part in parts])[: len(images)],
        )

    def _call(self, images: NDArray[np.uint8]) -> SessionAnswers:
        try:
            output, features = self._session.run([self.output, FEATURES], {INPUT: np.ascontiguousarray(images)})
        except runtime_errors() as error:
            what = f"{images.dtype} {list(images.shape)}"
            raise BundleError(f"{self.path} can't be run on {what}: {_first_line(error)}") from error
        return SessionAnswers(output.astype(np.float32, copy=False), features.astype(np.float32, copy=False))


def runtime(needed_for: str) -> Any:
    """The module onnxruntime.

    Raises:
        MissingPackageError: It is not installed; `needed_for` says what asked for it.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingPackageError(ONNXRUNTIME_PIN, needed_for=needed_for) from error
    return onnxruntime


def _load(path: Path, *, threads: int, optimize: bool, providers: Sequence[str]) -> Any:
    """The runtime's own session, quiet and without spinning threads."""
    onnxruntime = runtime(f"running {path.name}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    for kind in ("intra_op", "inter_op"):
        options.add_session_config_entry(f"session.{kind}.allow_spinning", "0")
    if not cpu_flags() & EXACT_INT8:
        # Otherwise x86 saturates sums of uint8 × int8 at 16 bits (https://github.com/microsoft/onnxruntime/pull/12088).
        # Not everywhere: with VNNI, ONNX Runtime 1.31 would take uint8 weights too, which doubles the latency.
        options.add_session_config_entry("session.x64quantprecision", "1")
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    there = [name for name in providers if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=there or ["CPUExecutionProvider"])
    except runtime_errors() as error:
        raise BundleError(f"{path} can't be loaded by ONNX Runtime: {_first_line(error)}") from error
    give_back_memory()
    return session


def give_back_memory() -> None:
    """Return memory that is free inside of this process to the system, where its C library is glibc.

    Loading leaves two copies of the weights behind, which nobody uses and glibc keeps: a ResNet-18 in 32 bits holds
    190 MB of memory without this call, and 96 MB with it, at the same speed.
    """
    with contextlib.suppress(OSError, AttributeError):  # macOS, musl
        ctypes.CDLL(None).malloc_trim(0)


def runtime_errors() -> tuple[type[Exception], ...]:
    """Everything that ONNX Runtime raises: its exceptions share no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [kind for kind in vars(state).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    return (*own, ValueError, RuntimeError)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
