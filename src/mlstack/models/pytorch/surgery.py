"""Fitting a ready-made network to the data: another number of input channels, another head."""

from __future__ import annotations

import torch
from torch import nn

from mlstack.errors import ConfigError


def take_head(network: nn.Module) -> int | None:
    """Replace the last linear layer by the identity, so that the network returns features.

    Returns:
        The number of features, or None where the network has no linear layer.
    """
    linear = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        return None
    name, layer = linear[-1]
    set_module(network, name, nn.Identity())
    return layer.in_features


def fit_input_channels(network: nn.Module, channels: int) -> None:
    """Let the first convolution take `channels` instead of 3, its filters summed (grey) so that weights keep a meaning.

    Raises:
        ConfigError: The network has no convolution on 3 channels.
    """
    if channels == 3:
        return
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == 3 and layer.groups == 1:
            set_module(network, name, _with_input_channels(layer, channels))
            return
    raise ConfigError(
        f"this network has no first convolution that could take {channels} channels",
        key="data.channels",
        hint="give it colour images: data.channels=3",
    )


def _with_input_channels(layer: nn.Conv2d, channels: int) -> nn.Conv2d:
    fitted = nn.Conv2d(
        channels,
        layer.out_channels,
        layer.kernel_size,  # type: ignore[arg-type]
        stride=layer.stride,  # type: ignore[arg-type]
        padding=layer.padding,  # type: ignore[arg-type]
        dilation=layer.dilation,  # type: ignore[arg-type]
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
    )
    with torch.no_grad():
        # [out, 3, height, width] → [out, channels, height, width], the sum over channels kept
        mean = layer.weight.sum(dim=1, keepdim=True) / channels
        fitted.weight.copy_(mean.expand_as(fitted.weight))
        if layer.bias is not None and fitted.bias is not None:
            fitted.bias.copy_(layer.bias)
    return fitted


def set_module(network: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` at the dotted `name` inside `network`."""
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
