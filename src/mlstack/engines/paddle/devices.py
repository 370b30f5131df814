"""What Paddle can use on this machine, and the processes that share a run."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from typing import Any

import paddle
from paddle import distributed

from mlstack.config import TrainerConfig
from mlstack.engines.devices import Machine, launched_devices, resolve_accelerator


def machine() -> Machine:
    """What Paddle sees."""
    gpus = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    build = f"built for CUDA {paddle.version.cuda()}" if paddle.is_compiled_with_cuda() else "a build without CUDA"
    return Machine(
        gpus=gpus,
        build=f"paddlepaddle {paddle.__version__} is {build}",
        launcher="python -m paddle.distributed.launch --nproc_per_node",
        gpu_without_bf16=paddle.device.cuda.get_device_name() if gpus and not _has_bf16() else None,
        launched=int(os.environ.get("PADDLE_LOCAL_SIZE", "1")) if is_launched() else None,
    )


def _has_bf16() -> bool:
    return bool(paddle.amp.is_bfloat16_supported())


def is_launched() -> bool:
    """Whether this process is one of several that `paddle.distributed.launch`, or `launch.py`, has started."""
    return {"PADDLE_TRAINER_ID", "PADDLE_TRAINERS_NUM", "PADDLE_TRAINER_ENDPOINTS"} <= os.environ.keys()


def world_size(trainer: TrainerConfig) -> int:
    """Processes that share the work, over all machines."""
    if is_launched():
        launched_devices(trainer, machine())
        return int(os.environ["PADDLE_TRAINERS_NUM"])
    return max(1, machine().gpus) if trainer.devices == -1 else trainer.devices


def rank() -> int:
    """Of this process among those that share the work."""
    return int(os.environ["PADDLE_TRAINER_ID"]) if is_launched() else 0


def set_device(accelerator: str) -> str:
    """Let Paddle compute on the device of this process; `cpu` or `gpu:0`."""
    kind = resolve_accelerator(accelerator, machine())
    name = "cpu" if kind == "cpu" else f"gpu:{os.environ.get('PADDLE_RANK_IN_NODE', '0')}"
    paddle.set_device(name)
    return name


def device_name(device: str) -> str:
    """A device in words, for results.json."""
    name: str = "cpu" if device == "cpu" else paddle.device.cuda.get_device_name(device)
    return name


def connect(accelerator: str) -> None:
    """Join the other processes of a run, where there are any; a second time does nothing."""
    if not is_launched() or int(os.environ["PADDLE_TRAINERS_NUM"]) == 1 or distributed.is_initialized():
        return
    if resolve_accelerator(accelerator, machine()) == "cpu":
        os.environ["PADDLE_DISTRI_BACKEND"] = "gloo"
    set_device(accelerator)
    with contextlib.redirect_stderr(io.StringIO()):  # it lists the flags that Paddle itself has changed
        distributed.init_parallel_env()


def disconnect() -> None:
    """Leave them."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def share_text(text: str | None, accelerator: str) -> str:
    """Rank 0's text on every process that a launcher has started; with no launcher the text itself."""
    connect(accelerator)
    if not distributed.is_initialized():
        assert text is not None
        return text
    return str(gathered(text)[0])


def gathered(value: Any) -> list[Any]:
    """A plain value of each process that trains, by rank; of the only one, where there are no others."""
    if not distributed.is_initialized():
        return [value]
    parts: list[Any] = []
    distributed.all_gather_object(parts, value)
    return parts


def share_buffers(network: paddle.nn.Layer) -> None:
    """Give all ranks rank 0's buffers: each has batch-norm statistics of its own, and rank 0's are saved.

    To Paddle these statistics are parameters that don't learn, and no buffers.
    """
    if distributed.is_initialized():
        for tensor in network.state_dict().values():
            if tensor.stop_gradient:
                distributed.broadcast(tensor, src=0)


def greatest(number: int) -> Callable[[], int]:
    """Ask all ranks for the greatest of their numbers; what is returned reads the answer, and waits for it."""
    asked = paddle.to_tensor([number])
    distributed.all_reduce(asked, op=distributed.ReduceOp.MAX)
    return lambda: int(asked.item())
