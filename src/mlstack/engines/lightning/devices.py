"""What torch can use on this machine, and the processes that share a run. Needs torch, not Lightning."""

from __future__ import annotations

import atexit
import os
from typing import Any

import torch

from mlstack.config import TrainerConfig
from mlstack.engines.devices import Machine, launched_devices, resolve_accelerator


def machine() -> Machine:
    """What torch sees."""
    cuda = torch.cuda.is_available()
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a build without CUDA"
    return Machine(
        gpus=torch.cuda.device_count() if cuda else 0,
        build=f"torch {torch.__version__} is {build}",
        launcher="torchrun --nproc_per_node",
        mps=torch.backends.mps.is_available(),
        gpu_without_bf16=torch.cuda.get_device_name() if cuda and not torch.cuda.is_bf16_supported() else None,
        launched=int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if launched_from_outside() else None,
    )


def launched_from_outside() -> bool:
    """Whether a launcher such as torchrun has started one process for each device."""
    return "TORCHELASTIC_RUN_ID" in os.environ or {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= os.environ.keys()


def devices_and_nodes(trainer: TrainerConfig) -> tuple[int, int]:
    """Processes on this machine, and machines: the launcher's, where there is one."""
    if not launched_from_outside():
        return trainer.devices, int(trainer.lightning.get("num_nodes", 1))
    here = launched_devices(trainer, machine())
    return here, max(1, int(os.environ["WORLD_SIZE"]) // here)


def world_size(trainer: TrainerConfig) -> int:
    """Processes that share the work, over all machines."""
    devices, nodes = devices_and_nodes(trainer)
    if devices == -1:
        devices = max(1, torch.cuda.device_count())
    return devices * nodes


def connect(accelerator: str) -> None:
    """Join the other processes that a launcher has started, where there are any; a second time does nothing.

    The connection is the one that training uses afterwards: Lightning takes it over.
    """
    if not launched_from_outside() or int(os.environ["WORLD_SIZE"]) == 1 or torch.distributed.is_initialized():
        return
    on_gpu = resolve_accelerator(accelerator, machine()) == "gpu"
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    atexit.register(_disconnect)


def share_text(text: str | None, accelerator: str) -> str:
    """Rank 0's text on every process that a launcher has started; with no launcher the text itself."""
    connect(accelerator)
    answer = gathered(text)[0]
    assert answer is not None
    return str(answer)


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


def torch_device(accelerator: str) -> torch.device:
    """The one device on which predictions are made."""
    return torch.device({"gpu": "cuda"}.get(kind := resolve_accelerator(accelerator, machine()), kind))


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
