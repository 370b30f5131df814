"""Fitting a ready-made network to the data: another number of input channels, another head."""

from __future__ import annotations

import functools

import paddle
from paddle import nn

from mlstack.errors import ConfigError


def take_head(network: nn.Layer) -> int | None:
    """Replace the last linear layer by the identity, so that the network returns features.

    Returns:
        The number of features, or None where the network has no linear layer.
    """
    linear = [(name, layer) for name, layer in network.named_sublayers() if isinstance(layer, nn.Linear)]
    if not linear:
        return None
    name, layer = linear[-1]
    set_module(network, name, nn.Identity())
    return int(layer.weight.shape[0])  # [in, out]


def fit_input_channels(network: nn.Layer, channels: int) -> None:
    """Let the first convolution take `channels` instead of 3, its filters summed (grey) so that weights keep a meaning.

    Raises:
        ConfigError: The network has no convolution on 3 channels.
    """
    if channels == 3:
        return
    for layer in network.sublayers(include_self=True):
        if isinstance(layer, nn.Conv2D) and layer._in_channels == 3 and layer._groups == 1:
            # [out, 3, height, width] → [out, channels, height, width], the sum over channels kept
            with paddle.no_grad():
                mean = layer.weight.sum(axis=1, keepdim=True) / channels
            replace_input_channels(layer, channels)
            layer.weight.set_value(mean.expand_as(layer.weight))
            return
    raise ConfigError(
        f"this network has no first convolution that could take {channels} channels",
        key="data.channels",
        hint="give it colour images: data.channels=3",
    )


def replace_input_channels(layer: nn.Conv2D, channels: int) -> None:
    """Give a convolution a new weight, for another number of channels."""
    outputs, _, height, width = layer.weight.shape
    layer._in_channels = channels
    layer.weight = layer.create_parameter([outputs, channels, height, width], dtype=layer.weight.dtype)


def set_module(network: nn.Layer, name: str, module: nn.Layer) -> None:
    """Put `module` at the dotted `name` inside `network`."""
    *parents, child = name.split(".")
    setattr(functools.reduce(getattr, parents, network), child, module)
