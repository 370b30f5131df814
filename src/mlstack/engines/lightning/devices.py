"""Which device a run gets, and whether this machine has it. Needs torch, not Lightning."""

from __future__ import annotations

import os

import torch

from mlstack.config import Config
from mlstack.errors import HardwareError
from mlstack.runs import RUN_FOLDER_VARIABLE


def check_devices(config: Config) -> None:
    """Refuse devices and precisions that this machine does not have.

    Raises:
        HardwareError: Naming what is there and what to type instead.
    """
    trainer = config.trainer
    if "TORCHELASTIC_RUN_ID" in os.environ and RUN_FOLDER_VARIABLE not in os.environ:
        raise HardwareError(
            "torchrun starts each process on its own, and they would not share a run folder",
            hint="let the script start them: trainer.devices=2 trainer.strategy=ddp",
        )
    kind, available = resolve_accelerator(trainer.accelerator), torch.cuda.device_count()
    if trainer.accelerator == "auto" and kind == "cpu" and (trainer.devices != 1):
        raise HardwareError(
            f"trainer.devices={trainer.devices}: no GPU is there",
            hint="type trainer.devices=1, or let CPU processes share the work: "
            f"trainer.accelerator=cpu trainer.devices={max(trainer.devices, 2)} trainer.strategy=ddp",
        )
    if kind == "gpu" and trainer.devices > available:
        raise HardwareError(
            f"trainer.devices={trainer.devices}: only {available} GPU{'s are' if available > 1 else ' is'} there",
            hint=f"type trainer.devices={available}",
        )
    if kind == "cpu" and trainer.devices == -1:
        raise HardwareError(
            "trainer.devices=-1 (all) counts GPUs", hint="on a CPU say how many processes: trainer.devices=1"
        )
    _check_precision(trainer.precision, kind)


def _check_precision(precision: str, kind: str) -> None:
    if precision == "16" and kind == "cpu":
        raise HardwareError(
            "trainer.precision=16 needs a GPU, and this run is on the CPU",
            hint="type trainer.precision=bf16 (fast on processors with AVX512-BF16 or AMX) or trainer.precision=32",
        )
    if precision == "bf16" and kind == "gpu" and not torch.cuda.is_bf16_supported():
        raise HardwareError(
            f"trainer.precision=bf16: {torch.cuda.get_device_name()} has no bfloat16", hint="type trainer.precision=16"
        )
    if precision == "64" and kind == "mps":
        raise HardwareError("trainer.precision=64: Apple's GPUs have no float64", hint="type trainer.precision=32")


def resolve_accelerator(accelerator: str) -> str:
    """`cpu`, `gpu` or `mps`: what `auto` means here.

    Raises:
        HardwareError: The device that was asked for by name isn't there.
    """
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if accelerator == "auto":
        return "gpu" if cuda else "mps" if mps else "cpu"
    if accelerator == "gpu" and not cuda:
        build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
        raise HardwareError(
            f"trainer.accelerator=gpu: no GPU is there (torch {torch.__version__} is {build} and sees none)",
            hint="train on the CPU: trainer.accelerator=cpu trainer.devices=1\n"
            "look for the cause: python scripts/check_env.py",
        )
    if accelerator == "mps" and not mps:
        raise HardwareError("trainer.accelerator=mps: no Apple GPU is there", hint="type trainer.accelerator=auto")
    return accelerator


def torch_device(accelerator: str) -> torch.device:
    """The one device on which predictions are made."""
    return torch.device({"gpu": "cuda"}.get(kind := resolve_accelerator(accelerator), kind))


def device_name(device: torch.device) -> str:
    """A device in words, for results.json."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def gpu_utilization(device: torch.device) -> float | None:
    """How busy a GPU has been over about the last second, 0 to 1; None for a CPU, or where NVML can't be asked."""
    if device.type != "cuda":
        return None
    try:
        return torch.cuda.utilization(device) / 100
    except (ModuleNotFoundError, RuntimeError):  # nvidia-ml-py is in requirements-gpu.txt
        return None
