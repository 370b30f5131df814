"""`python scripts/check_env.py`: is this machine ready to train, and what mends it where it is not?

Each line is ok, warn or fail; a warn or a fail names the command that mends it. Exit status 1 on a fail. What needs no
framework is looked at in `mlstack.validation`: machine.py, gpu_checks.py, container_checks.py.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mlstack.config.trainer import ENGINES
from mlstack.utils import hardware
from mlstack.validation import container_checks, gpu_checks, machine
from mlstack.validation.machine import Check

if TYPE_CHECKING:
    from mlstack.config.commands import CheckEnvConfig

ROOT = Path(__file__).parents[3]


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
    builds = {framework: gpu_checks.cuda_build(framework) for framework in gpu_checks.BUILD_NOTES}
    yield machine.check_python(sys.version_info[:3])
    yield from machine.check_packages(ROOT / "requirements-cpu.txt")
    yield from machine.check_optional_packages(ROOT / "requirements-optional.txt")
    for engine in ENGINES:
        check = {"lightning": check_torch, "paddle": check_paddle}[engine]
        yield check(has_driver=driver is not None)
    yield gpu_checks.check_cuda(builds)
    yield gpu_checks.check_driver(driver, builds)
    if (memory := gpu_checks.check_gpu_memory(gpu_checks.gpu_memory())) is not None:
        yield memory
    yield machine.check_writable(output_dir)
    yield machine.check_disk(shutil.disk_usage(Path.cwd()).free)
    yield machine.check_memory(hardware.total_memory())
    yield machine.check_processor(hardware.cpu_flags())
    yield from container_checks.check_containers(has_gpu=driver is not None)


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


def as_table(checks: list[Check]) -> str:
    """`ok    torch   2.14.1…`, with what to type after an arrow, and the machine at the top."""
    width = max(len(check.name) for check in checks)
    lines = [f"{platform.system()} {platform.release()} on {platform.machine()}"]
    for check in checks:
        remedy = f"  → {check.remedy}" if check.remedy else ""
        lines.append(f"{check.status:<5} {check.name:<{width}}  {check.finding}{remedy}")
    return "\n".join(lines)
