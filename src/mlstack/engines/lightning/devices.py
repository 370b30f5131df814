"""Which device a run gets, and whether this machine has it. Needs torch, not Lightning."""

from __future__ import annotations

import atexit
import os
from dataclasses import replace
from typing import Any

import torch

from mlstack.config import Config, TrainerConfig
from mlstack.errors import HardwareError
from mlstack.utils.console import say
from mlstack.utils.hardware import usable_cores
from mlstack.utils.ranks import is_main_process


def check_devices(config: Config) -> None:
    """Refuse devices and precisions that this machine does not have.

    Raises:
        HardwareError: Naming what is there and what to type instead.
    """
    trainer = config.trainer
    if launched_from_outside():
        trainer = replace(trainer, devices=_launched_here(trainer))
    kind, available = resolve_accelerator(trainer.accelerator), torch.cuda.device_count()
    if trainer.accelerator == "auto" and kind == "cpu" and trainer.devices != 1 and not launched_from_outside():
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
    if kind == "cpu" and trainer.devices > (cores := usable_cores()) and is_main_process():
        say(f"warning     {trainer.devices} processes share {cores} core{'s' * (cores > 1)}: fewer would be faster")


def launched_from_outside() -> bool:
    """Whether a launcher such as torchrun has started one process for each device."""
    return "TORCHELASTIC_RUN_ID" in os.environ or {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys()


def _launched_here(trainer: TrainerConfig) -> int:
    """Processes that the launcher has started on this machine."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if trainer.devices not in (1, -1, here):
        raise HardwareError(
            f"trainer.devices={trainer.devices}, but the launcher has started {here} processes on this machine",
            hint=f"leave trainer.devices away, or start with: torchrun --nproc_per_node {trainer.devices}",
        )
    return here


def devices_and_nodes(trainer: TrainerConfig) -> tuple[int, int]:
    """Processes on this machine, and machines: the launcher's, where there is one."""
    if not launched_from_outside():
        return trainer.devices, int(trainer.lightning.get("num_nodes", 1))
    here = _launched_here(trainer)
    return here, max(1, int(os.environ["WORLD_SIZE"]) // here)


def world_size(trainer: TrainerConfig) -> int:
    """Processes that share the work, over all machines."""
    devices, nodes = devices_and_nodes(trainer)
    if devices == -1:
        devices = max(1, torch.cuda.device_count())
    return devices * nodes


def share_text(text: str | None, accelerator: str) -> str:
    """Rank 0's text on every process that a launcher has started; with no launcher the text itself.

    The connection that is made for it is the one that training uses afterwards: Lightning takes it over.
    """
    if not launched_from_outside() or int(os.environ["WORLD_SIZE"]) == 1:
        assert text is not None
        return text
    on_gpu = resolve_accelerator(accelerator) == "gpu"
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    atexit.register(_disconnect)
    box = [text]
    torch.distributed.broadcast_object_list(box, src=0)
    assert box[0] is not None
    return box[0]


def gathered(value: Any) -> list[Any]:
    """A plain value of each process that trains, by rank; of the only one, where there are no others."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [value]
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, value)
    return parts


def share_buffers(network: torch.nn.Module) -> None:
    """Give all ranks rank 0's buffers: each has batch-norm statistics of its own, and rank 0's are saved."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        for buffer in network.buffers():
            torch.distributed.broadcast(buffer, src=0)


def _disconnect() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


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
