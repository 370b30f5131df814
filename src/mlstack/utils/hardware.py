"""What this machine offers: cores, memory, processor features, GPU driver. Standard library only.

In a container the host's own figures mislead: a cgroup may allow 2 of 64 cores and 4 of 256 GiB. What is returned
here is what this process may really use. A file that is missing (macOS, another cgroup version) means no limit.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
PROC = Path("/proc")

# What the memory controller of cgroup version 1 shows when nothing is limited is near 2**63.
NO_LIMIT = 2**60


def usable_cores(cgroup: Path = CGROUP) -> int:
    """Cores that this process may keep busy: the least of host, CPU affinity and cgroup quota, at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, int(quota)))


def limit_threads(cgroup: Path = CGROUP) -> None:
    """Have OpenMP start as many threads as the cgroup's quota grants, unless OMP_NUM_THREADS says otherwise.

    It looks at the CPU affinity alone: in a container with 2 of 64 cores 64 threads would share them. To be called
    before a framework is imported.
    """
    if _cpu_quota(cgroup) is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores(cgroup)))


def total_memory(cgroup: Path = CGROUP) -> int:
    """Memory that this process may use, in bytes: the lesser of the machine's and the cgroup's limit."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = (_read_number(cgroup / "memory.max"), _read_number(cgroup / "memory" / "memory.limit_in_bytes"))
    return min([machine, *(int(limit) for limit in limits if limit is not None and limit < NO_LIMIT)])


def cpu_name(proc: Path = PROC) -> str:
    """The processor's name as its maker writes it, or the architecture where the system does not tell."""
    return _cpuinfo("model name", proc) or platform.processor() or platform.machine()


def cpu_vendor(proc: Path = PROC) -> str:
    """Who made the processor, as it says itself (`GenuineIntel`, `AuthenticAMD`); empty where unknown."""
    return _cpuinfo("vendor_id", proc) or ""


def cpu_flags(proc: Path = PROC) -> frozenset[str]:
    """Instruction sets in the kernel's spelling (`avx512f`, `avx512_vnni`, `avx512_bf16`); empty where unknown."""
    return frozenset((_cpuinfo("flags", proc) or _cpuinfo("Features", proc)).split())


def gpu_driver() -> tuple[str, list[str]] | None:
    """The NVIDIA driver's version and the name of each GPU, or None where `nvidia-smi` finds neither."""
    if (program := shutil.which("nvidia-smi")) is None:
        return None
    query = [program, "--query-gpu=driver_version,name", "--format=csv,noheader"]
    try:
        # A driver in trouble can keep nvidia-smi waiting for minutes.
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [line.split(", ", 1) for line in answer.splitlines() if ", " in line]
    return (rows[0][0], [name for _, name in rows]) if rows else None


def gpu_utilization(index: int = 0) -> float | None:
    """How busy a GPU has been over about the last second, 0 to 1; None where NVML can't be asked."""
    try:
        import pynvml  # nvidia-ml-py, in requirements-gpu.txt
    except ModuleNotFoundError:
        return None
    try:
        pynvml.nvmlInit()
        return float(pynvml.nvmlDeviceGetUtilizationRates(pynvml.nvmlDeviceGetHandleByIndex(index)).gpu) / 100
    except pynvml.NVMLError:
        return None


def _cpu_quota(cgroup: Path) -> float | None:
    """Cores that the cgroup grants, in fractions of one; None without a limit. Version 2 first, then version 1."""
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        quota, period = (str(_read_number(cgroup / "cpu" / f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
    try:
        cores = float(quota) / float(period)  # "max" and "None" are no numbers; version 1 writes -1 for no limit
    except (ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def _read_number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None


def _cpuinfo(field: str, proc: Path) -> str:
    """The first value of `field` in /proc/cpuinfo, or an empty text."""
    try:
        lines = (proc / "cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    entries = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in entries if name.strip() == field), "")
