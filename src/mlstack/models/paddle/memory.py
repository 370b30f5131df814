"""Gradient checkpointing: keep only each block's input, and compute its activations again in the backward pass."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn.layer.norm import _BatchNormBase

from mlstack.models.paddle.quiet import recompute


def checkpoint_gradients(network: nn.Layer) -> int:
    """Recompute each block of a network in the backward pass.

    A block is a member of a `Sequential` that isn't itself inside another block: a residual block, a stage, a layer.

    Returns:
        The number of blocks.
    """
    blocks = _blocks(network)
    for block in blocks:
        block.forward = functools.partial(_checkpointed, block)
    return len(blocks)


def _blocks(network: nn.Layer) -> list[nn.Layer]:
    blocks: list[nn.Layer] = []
    for child in network.children():
        if isinstance(child, nn.Sequential | nn.LayerList):
            blocks.extend(member for member in child.children() if member.parameters())
        else:
            blocks.extend(_blocks(child))
    return blocks


def _checkpointed(block: nn.Layer, *inputs: Tensor) -> Any:
    forward = functools.partial(type(block).forward, block)  # of the class that it has by now
    learning = [parameter for parameter in block.parameters() if not parameter.stop_gradient]
    if not (block.training and learning and paddle.is_grad_enabled()):
        return forward(*inputs)
    first = True

    def run(*_: Tensor) -> Any:
        nonlocal first
        if first:
            first = False
            return forward(*inputs)
        with _still_statistics(block):
            return forward(*inputs)

    # Paddle looks at the arguments for one that needs a gradient and warns where there is none, as at the first block,
    # whose input is the images: so it gets the weights, which it needs for nothing else.
    return recompute(run, *learning, use_reentrant=False)


@contextmanager
def _still_statistics(block: nn.Layer) -> Iterator[None]:
    """Batch norm must not count the same batch twice: the second computation leaves its statistics as they are."""
    norms = [layer for layer in block.sublayers(include_self=True) if isinstance(layer, _BatchNormBase | nn.BatchNorm)]
    before = [(norm, norm._momentum) for norm in norms]
    for norm in norms:
        norm._momentum = 1.0  # the share of the old statistics
    try:
        yield
    finally:
        for norm, momentum in before:
            norm._momentum = momentum
