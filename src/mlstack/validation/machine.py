"""What this machine and its packages have to offer, check by check. No framework is imported here.

Limits are in decimal units, as sellers count: a machine sold with 4 GB has a little more than 4·10⁹ bytes for programs.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlstack.utils import hardware

OLDEST_PYTHON = (3, 11)
GB = 10**9

# torch with CUDA, Paddle and their libraries take 8 GB, two images of stage 2 take 3 GB, a data set and some runs with
# their checkpoints the rest. With less the embedded digits still train; with 1 GiB not even a checkpoint is sure.
DISK_WARN, DISK_FAIL = 20 * GB, 2**30
# A ResNet-50 step on 64 small images peaks near 3 GB. Training the digits takes 0.8: with less than 1 nothing starts.
MEMORY_WARN, MEMORY_FAIL = 4 * GB, 1 * GB


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    status: Literal["ok", "warn", "fail"]
    finding: str
    remedy: str = ""  # what to type; empty when all is well


def check_python(version: tuple[int, ...]) -> Check:
    """`version` as in sys.version_info."""
    text = ".".join(map(str, version))
    if version >= OLDEST_PYTHON:
        return Check("python", "ok", text)
    return Check("python", "fail", f"{text} is too old, 3.11 or newer is needed", "make setup PYTHON=python3.11")


def read_pins(path: Path) -> dict[str, str]:
    """The `name==version` lines of a requirements file; empty where the file is missing."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE))


def installed_version(package: str) -> str | None:
    """The version that is installed, without the build's suffix (`+cpu`), or None."""
    for name in (package, f"{package}-gpu"):  # Paddle's GPU build has a name of its own
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name).partition("+")[0]
    return None


def check_packages(requirements: Path) -> Iterator[Check]:
    """One line when all is as pinned, else one line for each package that is missing or of another version."""
    pins = read_pins(requirements)
    found = {package: installed_version(package) for package in pins}
    mended = "make setup"
    for package, pin in pins.items():
        if found[package] is None:
            yield Check(package, "fail", f"not installed, {pin} is needed", mended)
        elif found[package] != pin:
            yield Check(package, "warn", f"{found[package]} is installed, {pin} is tested", mended)
    if not pins:
        yield Check("packages", "warn", f"{requirements.name} is not there to compare with", "git checkout -- .")
    elif found == pins:
        yield Check("packages", "ok", f"{len(pins)} of {len(pins)} at their pinned versions")


def check_optional_packages(requirements: Path) -> Iterator[Check]:
    """Never a problem: the line only says what could be had."""
    for package, pin in read_pins(requirements).items():
        version = installed_version(package)
        yield Check(package, "ok", version or f"not installed (optional; pip install '{package}=={pin}')")


def check_writable(folder: Path) -> Check:
    """Whether runs can be written to `folder`, or to the nearest folder above it that is there; makes nothing."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Check("outputs", "ok", f"{folder} can be written")
    return Check("outputs", "fail", f"{folder} cannot be written: {there} refuses", "output_dir=/a/folder/of/yours")


def check_disk(free: int) -> Check:
    """`free` in bytes, where the command runs."""
    finding = f"{free / GB:.1f} GB free in {Path.cwd()}"
    if free >= DISK_WARN:
        return Check("disk", "ok", finding)
    wanted = f"{finding}, {DISK_WARN // GB} are advised"
    return Check("disk", "fail" if free < DISK_FAIL else "warn", wanted, "python scripts/download.py clean=true")


def check_memory(total: int) -> Check:
    """`total` in bytes: of the machine, or of the cgroup where that grants less."""
    finding = f"{total / GB:.1f} GB"
    if total >= MEMORY_WARN:
        return Check("memory", "ok", finding)
    if total >= MEMORY_FAIL:
        return Check("memory", "warn", f"{finding}: large models will not fit", "data.batch_size=16")
    return Check("memory", "fail", f"{finding}: no framework fits", "raise the memory limit (docker run --memory 4g)")


def check_processor(flags: frozenset[str]) -> Check:
    """Cores, and the instruction sets that decide how fast a CPU trains."""
    known = {"avx512f": "AVX512", "avx512_vnni": "VNNI", "avx512_bf16": "BF16", "amx_bf16": "AMX"}
    features = [name for flag, name in known.items() if flag in flags]
    usable, there = hardware.usable_cores(), os.cpu_count() or 1
    cores = f"{usable} usable cores" + (f" of {there} (quota or affinity)" if usable < there else "")
    finding = f"{cores}, {hardware.cpu_name()}, {' '.join(features) or 'no AVX512'}"
    if {"avx512_bf16", "amx_bf16"} & flags:
        finding += " (trainer.precision=bf16 pays off)"
    return Check("processor", "ok", finding)
