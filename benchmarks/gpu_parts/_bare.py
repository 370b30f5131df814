"""A training step by hand, without engine and without input: the least that a step can take on this device."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from statistics import median

import torch
from torch import nn

from gpu_parts._part import Place
from mlstack.config import Config
from mlstack.engines.lightning.optimizers import build_optimizer
from mlstack.models.pytorch import build_classifier

ROUNDS = 5


def milliseconds_a_step(place: Place, config: Config) -> float:
    """Forward, backward and fused optimizer on one batch that lies on the device, in the settings' precision."""
    data = config.data
    network = build_classifier(config.model, data, channels_last=config.trainer.channels_last).to(place.device).train()
    optimizer = build_optimizer(config.model, network, fused=True)
    assert data.image_size and data.channels and data.classes
    shape = (data.batch_size, data.image_size, data.image_size, data.channels)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, device=place.device)
    labels = torch.randint(0, len(data.classes), (data.batch_size,), device=place.device)

    def step() -> None:
        with arithmetic(place, config.trainer.precision):
            loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    if not place.dry:
        torch.backends.cudnn.benchmark = True  # as the engine does
    return milliseconds(place, step)


def arithmetic(place: Place, precision: str) -> AbstractContextManager[object]:
    """bfloat16 where it is asked for."""
    return torch.autocast(place.device, torch.bfloat16) if precision == "bf16" else nullcontext()


def milliseconds(place: Place, work: Callable[[], object], *, seconds: float = 0.3) -> float:
    """Of one call, the median over some rounds: CUDA events at their edges, host time on a CPU."""
    for _ in range(1 if place.dry else 10):
        work()
    once = _round(place, work, 1 if place.dry else 5)
    calls = 1 if place.dry else max(3, min(1000, round(1e3 * seconds / once)))
    return median(_round(place, work, calls) for _ in range(1 if place.dry else ROUNDS))


def _round(place: Place, work: Callable[[], object], calls: int) -> float:
    """Milliseconds of one of so many calls in a row."""
    if place.dry:
        start = time.perf_counter()
        for _ in range(calls):
            work()
        return 1e3 * (time.perf_counter() - start) / calls
    edges = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    torch.cuda.synchronize()
    edges[0].record()
    for _ in range(calls):
        work()
    edges[1].record()
    torch.cuda.synchronize()
    return edges[0].elapsed_time(edges[1]) / calls
