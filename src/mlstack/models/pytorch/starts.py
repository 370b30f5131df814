"""What the settings change in a network that is already built: how convolutions start, how much is dropped."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def start_as_identity(network: nn.Module) -> None:
    """Let each convolution but the first pass its input on, in as many filters as it can.

    "Dirac" initialisation (https://arxiv.org/abs/1706.00388), as airbench has it (https://arxiv.org/abs/2404.00498):
    filters beyond the number of inputs keep their random start, so that more outputs than inputs are of use.
    """
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for convolution in convolutions[1:]:
        for group in convolution.weight.chunk(convolution.groups):
            inputs = group.shape[1]
            nn.init.dirac_(group[:inputs])


def set_dropout(network: nn.Module, chance: float) -> bool:
    """Set the chance of each `nn.Dropout` in a network; False where it has none."""
    layers = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    for layer in layers:
        layer.p = chance
    return bool(layers)
