"""Whether an NVIDIA GPU, its driver and the CUDA builds of the frameworks fit together. No framework is imported here.

The figures come from `nvidia-smi` and from the files in which the frameworks note what they were built for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from mlstack.validation.machine import GB, Check

# Least driver for programs built with any release of a CUDA major version, on Linux:
# https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html (table 1 and its footnote)
LEAST_DRIVER = {11: "450.80.02", 12: "525", 13: "580"}
# ResNet-50 on 64 colour images of 224 pixels takes about 5.5 GB in 32 bits; cards with 6 GB show a little over 6·10⁹.
GPU_MEMORY_WARN = 6 * GB
BUILD_NOTES = {  # where a framework writes which CUDA it was built for; None, False or "0.0" on a CPU build
    "torch": (Path("version.py"), r"^cuda\b[^=]*=\s*'?([\d.]+|None)"),
    "paddle": (Path("version", "__init__.py"), r"^cuda_version\s*=\s*'?([\d.]+|False)"),
}


def cuda_build(framework: str) -> str | None:
    """The CUDA version that an installed framework was built for (`13.0`); None for a CPU build or where unknown."""
    note, pattern = BUILD_NOTES[framework]
    spec = find_spec(framework)
    for folder in (spec.submodule_search_locations if spec else None) or ():
        if (path := Path(folder) / note).is_file():
            found = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
            return found[1] if found and as_numbers(found[1]) > (0, 0) else None
    return None


def least_driver(cuda: str | None) -> str | None:
    """The oldest driver that runs a build for this CUDA version; None for a CPU build or a version not in the table."""
    return LEAST_DRIVER.get(as_numbers(cuda)[0]) if cuda else None


def as_numbers(version: str) -> tuple[int, ...]:
    """`450.80.02` as (450, 80, 2); what is no number counts as 0."""
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def check_cuda(builds: dict[str, str | None]) -> Check:
    """What the frameworks were built for, and the least driver that follows."""
    words = [f"{name} {f'for CUDA {cuda}' if cuda else 'for the CPU'}" for name, cuda in builds.items()]
    needed = _needed(builds)
    return Check("cuda", "ok", ", ".join(words) + (f"; least driver {needed}" if needed else ""))


def check_driver(driver: tuple[str, list[str]] | None, builds: dict[str, str | None]) -> Check:
    """Whether the driver is new enough for every CUDA build.

    Args:
        driver: Its version and the GPUs' names, as `hardware.gpu_driver` returns them.
        builds: For each framework the CUDA version it was built for.
    """
    if driver is None:
        return Check("gpu", "ok", "no NVIDIA GPU")
    version, names = driver
    finding = f"driver {version}: {', '.join(names)}"
    needed = _needed(builds)
    if needed and as_numbers(version) < as_numbers(needed):
        remedy = f"sudo apt-get install nvidia-driver-{needed.split('.')[0]} (or from https://www.nvidia.com/drivers)"
        return Check("gpu", "fail", f"{finding}; {needed} or newer is needed for {_newest(builds)}", remedy)
    return Check("gpu", "ok", finding)


def check_gpu_memory(totals: list[int]) -> Check | None:
    """The memory of each GPU in bytes; no line without a GPU."""
    if not totals:
        return None
    finding = ", ".join(f"{total / GB:.1f} GB" for total in totals)
    if min(totals) >= GPU_MEMORY_WARN:
        return Check("gpu memory", "ok", finding)
    wanted = f"{finding}, {GPU_MEMORY_WARN // GB} are advised"
    return Check("gpu memory", "warn", wanted, "data.batch_size=16 trainer.precision=16")


def gpu_memory() -> list[int]:
    """The memory of each GPU in bytes; empty where `nvidia-smi` finds none."""
    if (program := shutil.which("nvidia-smi")) is None:
        return []
    query = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [int(line) * 2**20 for line in answer.splitlines() if line.strip().isdigit()]  # it counts in MiB


def _needed(builds: dict[str, str | None]) -> str | None:
    """The least driver for all of them."""
    drivers = [driver for cuda in builds.values() if (driver := least_driver(cuda))]
    return max(drivers, key=as_numbers, default=None)


def _newest(builds: dict[str, str | None]) -> str:
    name, cuda = max(((name, cuda) for name, cuda in builds.items() if cuda), key=lambda pair: as_numbers(pair[1]))
    return f"{name}, built for CUDA {cuda}"
