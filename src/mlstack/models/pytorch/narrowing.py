"""A network as narrow as weights that have lost channels.

Their shapes are all that is known of the pruning, and enough: a run needs no list of what was removed, whoever
removed it, and however often.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mlstack.models.weight_shapes import Shape, narrowed_shape

HEAD_OUTPUTS = {"head.weight": (0,), "head.bias": (0,)}  # as many as there are classes, whatever comes in
UNSIZED = "num_batches_tracked"


def take_shapes(network: nn.Module, shapes: Mapping[str, Shape]) -> None:
    """Keep the first channels of each layer, as many as the weights have that will come in.

    Args:
        network: A `Classifier` at its full width.
        shapes: The shape of each of those weights, from `shapes_of`.

    Raises:
        ValueError: They are of another network: one is missing, or larger than the network's own.
    """
    for prefix, layer in network.named_modules():
        before = dict(layer.named_parameters(recurse=False))
        for name, weight in before.items():
            cut = _cut(f"{prefix}.{name}", weight.detach(), shapes)
            setattr(layer, name, nn.Parameter(cut, requires_grad=weight.requires_grad))
        for name, buffer in layer.named_buffers(recurse=False):
            if name not in layer._non_persistent_buffers_set and name != UNSIZED:
                setattr(layer, name, _cut(f"{prefix}.{name}", buffer, shapes))
        if before or isinstance(layer, _BatchNorm):
            _tell(layer)


def _cut(name: str, tensor: Tensor, shapes: Mapping[str, Shape]) -> Tensor:
    name = name.removeprefix(".")
    shape = narrowed_shape(name, tuple(tensor.shape), shapes, kept=HEAD_OUTPUTS.get(name, ()))
    part = tensor[tuple(slice(size) for size in shape)]
    # As a new layer's weight lies in memory, whichever way this one did: a run that goes on is the same to the bit.
    return part.clone(memory_format=torch.contiguous_format)


def _tell(layer: nn.Module) -> None:
    """What a layer notes down of its own shape, some of which it computes with."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        outputs, inputs = layer.weight.shape[:2]
        if layer.groups == layer.in_channels > 1:  # depthwise: a group for each channel
            layer.groups = outputs // (layer.out_channels // layer.groups)
        layer.out_channels, layer.in_channels = outputs, inputs * layer.groups
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, _BatchNorm):
        if layer.running_mean is not None:
            layer.num_features = len(layer.running_mean)
    elif isinstance(layer, nn.LayerNorm):
        layer.normalized_shape = tuple(layer.weight.shape)
    elif isinstance(layer, nn.GroupNorm):
        layer.num_channels = len(layer.weight)
