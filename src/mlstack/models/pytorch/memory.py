"""Gradient checkpointing: keep only each block's input, and compute its activations again in the backward pass."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def checkpoint_gradients(network: nn.Module) -> int:
    """Recompute each block of a network in the backward pass.

    A block is a member of a `Sequential` that isn't itself inside another block: a residual block, a stage, a layer.

    Returns:
        The number of blocks.
    """
    blocks = _blocks(network)
    for block in blocks:
        block.forward = functools.partial(_checkpointed, block)
    return len(blocks)


def _blocks(network: nn.Module) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    for child in network.children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            blocks.extend(member for member in child if any(True for _ in member.parameters()))
        else:
            blocks.extend(_blocks(child))
    return blocks


def _checkpointed(block: nn.Module, *inputs: Tensor) -> Any:
    forward = functools.partial(type(block).forward, block)  # of the class that it has by now
    if not (block.training and torch.is_grad_enabled()):
        return forward(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _still_statistics(block)

    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _still_statistics(block: nn.Module) -> Iterator[None]:
    """Batch norm must not count the same batch twice: the second computation leaves its statistics as they are."""
    # A momentum of 0 adds nothing to them. Switching `track_running_stats` off instead would save other tensors than
    # the first computation did, which `checkpoint` refuses.
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    before = [
        (norm, norm.momentum, norm.num_batches_tracked.clone())
        for norm in norms
        if norm.num_batches_tracked is not None
    ]
    for norm, _, _ in before:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, batches in before:
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)  # type: ignore[union-attr]
