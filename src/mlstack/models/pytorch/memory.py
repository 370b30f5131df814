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
        block.forward = functools.partial(_checkpointed, block, block.forward)
    return len(blocks)


def _blocks(network: nn.Module) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    for child in network.children():
        if isinstance(child, nn.Sequential | nn.ModuleList):
            blocks.extend(member for member in child if any(True for _ in member.parameters()))
        else:
            blocks.extend(_blocks(child))
    return blocks


def _checkpointed(block: nn.Module, forward: Any, *inputs: Tensor) -> Any:
    if not (block.training and torch.is_grad_enabled()):
        return forward(*inputs)

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _still_statistics(block)

    return checkpoint(forward, *inputs, use_reentrant=False, context_fn=contexts)


@contextmanager
def _still_statistics(block: nn.Module) -> Iterator[None]:
    """Batch norm must not count the same batch twice: the second computation leaves its running statistics alone."""
    # Switched off, training mode still normalises by the batch and hands over no buffers to be updated.
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
