"""`python scripts/check_env.py`: is this machine ready to train, and what mends it where it is not?

Each line is ok, warn or fail; a warn or a fail names the command that mends it. Exit status 1 on a fail.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlstack.config.trainer import ENGINES
from mlstack.utils import hardware

if TYPE_CHECKING:
    from mlstack.config.commands import CheckEnvConfig

ROOT = Path(__file__).parents[3]
OLDEST_PYTHON = (3, 11)
GIB = 2**30

# torch, Paddle, their CUDA libraries and one data set take about 10 GB; a run's checkpoints a few hundred MB.
DISK_WARN, DISK_FAIL = 10 * GIB, 1 * GIB
# A ResNet-50 step on 64 small images peaks near 3 GB.
MEMORY_WARN = 4 * GIB


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    status: Literal["ok", "warn", "fail"]
    finding: str
    remedy: str = ""  # what to type; empty when all is well


def check_env(config: CheckEnvConfig) -> None:
    """Print the report as a table, or as JSON with `json=true`; end with exit status 1 when a check failed."""
    checks = list(all_checks(Path(config.output_dir)))
    if config.json:
        print(json.dumps([dataclasses.asdict(check) for check in checks], indent=2))
    else:
        print(as_table(checks))
    if any(check.status == "fail" for check in checks):
        sys.exit(1)


def all_checks(output_dir: Path) -> Iterator[Check]:
    """Every check, in the order in which the report shows them."""
    driver = hardware.gpu_driver()
    yield check_python(sys.version_info[:3])
    yield from check_packages(ROOT / "requirements-cpu.txt")
    yield from check_optional_packages(ROOT / "requirements-optional.txt")
    for engine in ENGINES:
        check = {"lightning": check_torch, "paddle": check_paddle}[engine]
        yield check(has_driver=driver is not None)
    yield check_driver(driver)
    yield check_writable(output_dir)
    yield check_disk(shutil.disk_usage(Path.cwd()).free)
    yield check_memory(hardware.total_memory())
    yield check_processor(hardware.cpu_flags())


def check_python(version: tuple[int, ...]) -> Check:
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


def check_torch(*, has_driver: bool) -> Check:
    """Whether torch can be imported and sees the GPU that the driver shows."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of the CUDA build is missing
        return Check("torch", "fail", f"cannot be imported: {error}".splitlines()[0], "make setup")
    build = f"CUDA {torch.version.cuda} build" if torch.version.cuda else "CPU build"
    finding = f"{torch.__version__}, {build}"
    if torch.cuda.is_available():
        return Check("torch", "ok", f"{finding}, sees {torch.cuda.device_count()} GPU(s)")
    if torch.backends.mps.is_available():
        return Check("torch", "ok", f"{finding}, sees the Apple GPU")
    if not has_driver:
        return Check("torch", "ok", f"{finding}, trains on the CPU")
    if torch.version.cuda:
        return Check("torch", "fail", f"{finding}, no GPU seen: the driver is too old", "update the NVIDIA driver")
    return Check("torch", "warn", f"{finding}, cannot use this machine's GPU", "make setup DEVICE=gpu")


def check_paddle(*, has_driver: bool) -> Check:
    """Whether Paddle can be imported and sees the GPU that the driver shows."""
    try:
        import mlstack.models.paddle.quiet  # noqa: F401, I001  first: paddle's own import prints and sets loggers
        import paddle
    except (ImportError, OSError) as error:
        return Check("paddle", "fail", f"cannot be imported: {error}".splitlines()[0], "make setup")
    with_cuda = paddle.is_compiled_with_cuda()
    finding = f"{paddle.__version__}, {f'CUDA {paddle.version.cuda()} build' if with_cuda else 'CPU build'}"
    if with_cuda and (count := paddle.device.cuda.device_count()):
        return Check("paddle", "ok", f"{finding}, sees {count} GPU(s)")
    if not has_driver:
        return Check("paddle", "ok", f"{finding}, trains on the CPU")
    if with_cuda:
        return Check("paddle", "fail", f"{finding}, no GPU seen: the driver is too old", "update the NVIDIA driver")
    return Check("paddle", "warn", f"{finding}, cannot use this machine's GPU", "make setup DEVICE=gpu")


def check_driver(driver: tuple[str, list[str]] | None) -> Check:
    if driver is None:
        return Check("gpu", "ok", "no NVIDIA GPU")
    version, names = driver
    return Check("gpu", "ok", f"driver {version}: {', '.join(names)}")


def check_writable(folder: Path) -> Check:
    """Whether runs can be written to `folder`, or to the nearest folder above it that is there; makes nothing."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return Check("outputs", "ok", f"{folder} can be written")
    return Check("outputs", "fail", f"{folder} cannot be written: {there} refuses", "output_dir=/a/folder/of/yours")


def check_disk(free: int) -> Check:
    """`free` in bytes, where the command runs."""
    finding = f"{free / GIB:.1f} GiB free in {Path.cwd()}"
    if free >= DISK_WARN:
        return Check("disk", "ok", finding)
    return Check("disk", "fail" if free < DISK_FAIL else "warn", finding, "python scripts/download.py clean=true")


def check_memory(total: int) -> Check:
    """`total` in bytes."""
    finding = f"{total / GIB:.1f} GiB"
    if total >= MEMORY_WARN:
        return Check("memory", "ok", finding)
    return Check("memory", "warn", f"{finding}: large models will not fit", "data.batch_size=16")


def check_processor(flags: frozenset[str]) -> Check:
    """Cores, and the instruction sets that decide how fast a CPU trains."""
    known = {"avx512f": "AVX512", "avx512_vnni": "VNNI", "avx512_bf16": "BF16", "amx_bf16": "AMX"}
    features = [name for flag, name in known.items() if flag in flags]
    finding = f"{hardware.usable_cores()} usable cores, {hardware.cpu_name()}, {' '.join(features) or 'no AVX512'}"
    if {"avx512_bf16", "amx_bf16"} & flags:
        finding += " (trainer.precision=bf16 pays off)"
    return Check("processor", "ok", finding)


def as_table(checks: list[Check]) -> str:
    """`ok    torch   2.14.1…`, with what to type after an arrow, and the machine at the top."""
    width = max(len(check.name) for check in checks)
    lines = [f"{platform.system()} {platform.release()} on {platform.machine()}"]
    for check in checks:
        remedy = f"  → {check.remedy}" if check.remedy else ""
        lines.append(f"{check.status:<5} {check.name:<{width}}  {check.finding}{remedy}")
    return "\n".join(lines)
