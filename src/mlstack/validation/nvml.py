"""How busy a GPU is and how full its memory, asked of NVML (the package nvidia-ml-py, in requirements-gpu.txt).

Not run on a real GPU here: the machines that this project was written on have none. The tests speak to a stand-in for
the module `pynvml` that has the functions and the exceptions used below.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# NVML's figure is the share of its last sampling period, 1/6 to 1 second long, in which a kernel ran:
# https://docs.nvidia.com/deploy/nvml-api/structnvmlUtilization__t.html
LOOKS_BACK = 1.0  # seconds


@dataclass(frozen=True)
class Gpu:
    """One GPU that NVML answers for.

    Attributes:
        name: As its maker writes it.
        driver: Version of the driver.
        total: Its memory in bytes.
    """

    name: str
    driver: str
    total: int
    _nvml: Any
    _handle: Any

    def busy(self) -> float | None:
        """Share of the last second, 0 to 1, in which a kernel ran; None where the GPU does not tell (MIG)."""
        try:
            return float(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu) / 100
        except self._nvml.NVMLError:
            return None

    def memory(self) -> float | None:
        """Share of its memory that is in use, 0 to 1, by whatever process; None where the GPU does not tell."""
        try:
            return float(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used) / self.total
        except self._nvml.NVMLError:
            return None


@contextlib.contextmanager
def open_gpu() -> Iterator[Gpu | None]:
    """The GPU on which a training with one device runs, as long as the block lasts; None where NVML can't be asked."""
    try:
        import pynvml
    except ModuleNotFoundError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver
        yield None
        return
    try:
        yield _first(pynvml)
    finally:
        pynvml.nvmlShutdown()


def _first(nvml: Any) -> Gpu | None:
    try:
        handle = _handle(nvml, os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip())
        name, driver = (_text(value) for value in (nvml.nvmlDeviceGetName(handle), nvml.nvmlSystemGetDriverVersion()))
        return Gpu(name, driver, int(nvml.nvmlDeviceGetMemoryInfo(handle).total), nvml, handle)
    except nvml.NVMLError:
        return None


def _handle(nvml: Any, visible: str) -> Any:
    """NVML counts all GPUs, CUDA only those that CUDA_VISIBLE_DEVICES names: by number or by a name (GPU-6f1…)."""
    if visible.startswith(("GPU-", "MIG-")):
        return nvml.nvmlDeviceGetHandleByUUID(visible)
    return nvml.nvmlDeviceGetHandleByIndex(int(visible) if visible.isdigit() else 0)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
