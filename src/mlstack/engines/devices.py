"""Which device a run gets, and whether this machine has it; what a framework sees is told by `Machine`."""

from __future__ import annotations

from dataclasses import dataclass

from mlstack.config import TrainerConfig
from mlstack.errors import HardwareError
from mlstack.utils.console import say
from mlstack.utils.hardware import usable_cores
from mlstack.utils.ranks import is_main_process


@dataclass(frozen=True)
class Machine:
    """What a framework can use here.

    Attributes:
        gpus: How many.
        build: The framework in words, for messages: `torch 2.14.1 is a build without CUDA`.
        mps: Whether Apple's GPU can be used.
        gpu_without_bf16: The GPU's name, where it has no bfloat16.
        launched: Processes that a launcher has started on this machine; None without one.
        launcher: How to start so many: `torchrun --nproc_per_node`.
    """

    gpus: int
    build: str
    launcher: str
    mps: bool = False
    gpu_without_bf16: str | None = None
    launched: int | None = None


def resolve_accelerator(accelerator: str, machine: Machine) -> str:
    """`cpu`, `gpu` or `mps`: what `auto` means here.

    Raises:
        HardwareError: The device that was asked for by name isn't there.
    """
    if accelerator == "auto":
        return "gpu" if machine.gpus else "mps" if machine.mps else "cpu"
    if accelerator == "gpu" and not machine.gpus:
        raise HardwareError(
            f"trainer.accelerator=gpu: no GPU is there ({machine.build} and sees none)",
            hint="train on the CPU: trainer.accelerator=cpu trainer.devices=1\n"
            "look for the cause: python scripts/check_env.py",
        )
    if accelerator == "mps" and not machine.mps:
        raise HardwareError("trainer.accelerator=mps: no Apple GPU is there", hint="type trainer.accelerator=auto")
    return accelerator


def check_devices(trainer: TrainerConfig, machine: Machine) -> None:
    """Refuse devices and precisions that this machine does not have.

    Raises:
        HardwareError: Naming what is there and what to type instead.
    """
    kind, available = resolve_accelerator(trainer.accelerator, machine), machine.gpus
    devices = trainer.devices if machine.launched is None else launched_devices(trainer, machine)
    if trainer.accelerator == "auto" and kind == "cpu" and devices != 1 and machine.launched is None:
        _take_cpu_processes(devices)
    if kind == "gpu" and devices > available:
        raise HardwareError(
            f"trainer.devices={devices}: only {available} GPU{'s are' if available > 1 else ' is'} there",
            hint=f"type trainer.devices={available}",
        )
    if kind == "cpu" and devices == -1:
        raise HardwareError(
            "trainer.devices=-1 (all) counts GPUs", hint="on a CPU say how many processes: trainer.devices=1"
        )
    _check_precision(trainer.precision, kind, machine)
    if trainer.sync_batchnorm and kind == "cpu" and devices > 1:
        raise HardwareError(
            "trainer.sync_batchnorm=true needs GPUs: CPU processes can't share batch-norm statistics",
            hint="type trainer.sync_batchnorm=false",
        )
    if kind == "cpu" and devices > (cores := usable_cores()) and is_main_process():
        say(f"warning     {devices} processes share {cores} core{'s' * (cores > 1)}: fewer would be faster")


def _take_cpu_processes(devices: int) -> None:
    """Where GPUs were hoped for, as many processes share the work of the cores, if there are enough of these."""
    cores = usable_cores()
    if not 2 <= devices <= cores:
        raise HardwareError(
            f"trainer.devices={devices}: no GPU is there",
            hint="type trainer.devices=1, or let CPU processes share the work: "
            f"trainer.accelerator=cpu trainer.devices={max(devices, 2)} trainer.strategy=ddp",
        )
    if is_main_process():
        say(f"warning     no GPU is there: {devices} CPU processes share the work")


def launched_devices(trainer: TrainerConfig, machine: Machine) -> int:
    """Processes that the launcher has started on this machine.

    Raises:
        HardwareError: The settings ask for another number.
    """
    here = machine.launched or 1
    if trainer.devices not in (1, -1, here):
        raise HardwareError(
            f"trainer.devices={trainer.devices}, but the launcher has started {here} processes on this machine",
            hint=f"leave trainer.devices away, or start with: {machine.launcher} {trainer.devices}",
        )
    return here


def _check_precision(precision: str, kind: str, machine: Machine) -> None:
    if precision == "16" and kind == "cpu":
        raise HardwareError(
            "trainer.precision=16 needs a GPU, and this run is on the CPU",
            hint="type trainer.precision=bf16 (fast on processors with AVX512-BF16 or AMX) or trainer.precision=32",
        )
    if precision == "bf16" and kind == "gpu" and machine.gpu_without_bf16:
        raise HardwareError(
            f"trainer.precision=bf16: {machine.gpu_without_bf16} has no bfloat16", hint="type trainer.precision=16"
        )
    if precision == "64" and kind == "mps":
        raise HardwareError("trainer.precision=64: Apple's GPUs have no float64", hint="type trainer.precision=32")
