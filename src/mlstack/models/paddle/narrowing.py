"""A network as narrow as weights that have lost channels.

Their shapes are all that is known of the pruning, and enough: a run needs no list of what was removed, whoever
removed it, and however often.
"""

from __future__ import annotations

from collections.abc import Mapping

import paddle
from paddle import Tensor, nn
from paddle.nn.layer.norm import _BatchNormBase

from mlstack.models.weight_shapes import Shape, narrowed_shape

HEAD_OUTPUTS = {"head.weight": (1,), "head.bias": (0,)}  # as many as there are classes, whatever comes in


def take_shapes(network: nn.Layer, shapes: Mapping[str, Shape]) -> None:
    """Keep the first channels of each layer, as many as the weights have that will come in.

    Args:
        network: A `Classifier` at its full width.
        shapes: The shape of each of those weights, from `shapes_of`.

    Raises:
        ValueError: They are of another network: one is missing, or larger than the network's own.
    """
    for prefix, layer in network.named_sublayers():
        # Paddle counts the statistics of batch norm among the parameters.
        before = dict(layer.named_parameters(include_sublayers=False))
        for name, weight in before.items():
            setattr(layer, name, _cut(layer, f"{prefix}.{name}", weight, shapes))
        if before:
            _tell(layer)


@paddle.no_grad()
def _cut(layer: nn.Layer, name: str, tensor: Tensor, shapes: Mapping[str, Shape]) -> Tensor:
    shape = narrowed_shape(name, tuple(tensor.shape), shapes, kept=HEAD_OUTPUTS.get(name, ()))
    cut = layer.create_parameter(list(shape), dtype=tensor.dtype)
    cut.set_value(tensor[tuple(slice(size) for size in shape)])
    cut.stop_gradient = tensor.stop_gradient
    return cut


def _tell(layer: nn.Layer) -> None:
    """What a layer notes down of its own shape, some of which it computes with."""
    if isinstance(layer, nn.Conv2D):
        outputs, inputs = layer.weight.shape[:2]
        if layer._groups == layer._in_channels > 1:  # depthwise: a group for each channel
            layer._groups = outputs // (layer._out_channels // layer._groups)
        layer._out_channels, layer._in_channels = outputs, inputs * layer._groups
    elif isinstance(layer, _BatchNormBase):
        layer._num_features = layer._mean.shape[0]
    elif isinstance(layer, nn.LayerNorm):
        layer._normalized_shape = list(layer.weight.shape)
    elif isinstance(layer, nn.GroupNorm):
        layer._num_channels = layer.weight.shape[0]
