"""Which parameters an optimizer treats in which way: what weight decay shrinks, and what Muon orthogonalises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from paddle import Tensor, nn
from paddle.nn.layer.conv import _ConvNd
from paddle.nn.layer.norm import _BatchNormBase, _InstanceNormBase

NORMS = (_BatchNormBase, _InstanceNormBase, nn.BatchNorm, nn.LayerNorm, nn.GroupNorm)
WEIGHTED = (nn.Linear, nn.Bilinear, nn.Embedding, _ConvNd)

Owned = tuple[nn.Layer, str, Tensor]  # a layer, the name of a tensor in it, the tensor


def parameter_groups(
    network: nn.Layer, *, weight_decay: float, decay_norm_and_bias: bool, hidden_apart: bool
) -> list[dict[str, Any]]:
    """Groups for an optimizer; only parameters that learn, each once, and no empty group.

    Args:
        network: Whose parameters; its layers are taken in the order in which they were made.
        weight_decay: Of the groups that it shrinks; 0 in the others.
        decay_norm_and_bias: Shrink everything.
        hidden_apart: Put matrices and filters between the first layer and the head into a group of their own.

    Returns:
        Up to three mappings with `name` (hidden, weights, norms_and_biases), `params`, `weight_decay` and `shrinks`,
        whether weight decay (even of 0) and the L1 penalty apply.
    """
    # A batch norm's statistics are parameters too in Paddle, with stop_gradient.
    learning = [owned for owned in _parameters(network) if not owned[2].stop_gradient]
    hidden = _hidden(network) if hidden_apart else set()
    parts: dict[str, list[Tensor]] = {"hidden": [], "weights": [], "norms_and_biases": []}
    for module, name, parameter in learning:
        if id(parameter) in hidden:
            parts["hidden"].append(parameter)
        elif decay_norm_and_bias or _is_weight(module, name, parameter):
            parts["weights"].append(parameter)
        else:
            parts["norms_and_biases"].append(parameter)
    groups: list[dict[str, Any]] = []
    for name, parameters in parts.items():
        shrinks = name != "norms_and_biases"
        decay = weight_decay if shrinks else 0.0
        groups.append({"name": name, "params": parameters, "weight_decay": decay, "shrinks": shrinks})
    return [group for group in groups if group["params"]]


def _parameters(network: nn.Layer) -> Iterator[Owned]:
    seen: set[int] = set()
    for module in network.sublayers(include_self=True):
        for name, parameter in module.named_parameters(include_sublayers=False):
            if id(parameter) not in seen:  # layers may share one
                seen.add(id(parameter))
                yield module, name, parameter


def _is_weight(module: nn.Layer, name: str, parameter: Tensor) -> bool:
    """Whether weight decay makes sense: not for norms, biases, slopes, scales and other vectors."""
    if isinstance(module, NORMS) or name.endswith("bias"):
        return False
    if isinstance(module, WEIGHTED):  # even one of a single row
        return True
    return sum(size > 1 for size in parameter.shape) >= 2 or (name.endswith("weight") and parameter.ndim >= 2)


def _hidden(network: nn.Layer) -> set[int]:
    """Ids of the matrices and filters that lie between the first layer and the head.

    Frozen layers count: behind a fixed whitening layer, the first one that learns is hidden.
    """
    matrices = [tensor for module, name, tensor in _tensors(network) if _is_matrix(module, name, tensor)]
    return {id(tensor) for tensor in matrices[1:-1]}


def _tensors(network: nn.Layer) -> Iterator[Owned]:
    """Parameters and buffers; a layer that doesn't learn may hold its weight in either."""
    for module in network.sublayers(include_self=True):
        parameters = module.named_parameters(include_sublayers=False)
        for name, tensor in [*parameters, *module.named_buffers(include_sublayers=False)]:
            yield module, name, tensor


def _is_matrix(module: nn.Layer, name: str, tensor: Tensor) -> bool:
    return name.endswith("weight") and tensor.ndim >= 2 and not isinstance(module, (*NORMS, nn.Embedding))
