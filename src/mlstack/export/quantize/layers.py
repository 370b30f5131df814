"""Which parts of a network become int8: its layers with weights, and what lies between them.

Normalisation before the first layer and softmax after the last one stay in 32 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

WEIGHTED = ("Conv", "Gemm", "MatMul")

# What ONNX Runtime computes in int8 between two layers. Measured on one thread with AVX512-VNNI, against 32 bits:
# resnet18 at 28 pixels 0.29 × with convolutions alone, 0.27 × with these; efficientnet_b0 at 96 pixels 1.13 × and
# 0.79 ×. HardSigmoid is missing: without a kernel for int8 it costs a conversion there and back.
BETWEEN = (
    *("Add", "Mul", "Relu", "Clip", "LeakyRelu", "Sigmoid", "Concat"),
    *("MaxPool", "AveragePool", "GlobalAveragePool"),
    *("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"),
)


@dataclass(frozen=True)
class Layer:
    """A layer with weights and what follows it up to the next one; becomes int8, or stays in 32 bits, as a whole.

    Attributes:
        name: The ONNX node that holds the weights.
        weight: Their name in the file.
        nodes: Names of all its nodes, that one first.
        is_head: Whether no other layer follows it.
    """

    name: str
    weight: str
    nodes: tuple[str, ...]
    is_head: bool


def find_layers(graph: onnx.GraphProto) -> tuple[Layer, ...]:
    """The layers of a network in the order in which they are computed; nodes must have names and be sorted."""
    constants = {tensor.name for tensor in graph.initializer}
    leads_to_layer = _tensors_before_layers(graph.node, constants)
    layer_of: dict[str, int] = {}  # of each tensor: the last layer that it depends on
    nodes: list[list[onnx.NodeProto]] = []
    for node in graph.node:
        above = [layer_of[name] for name in node.input if name in layer_of]
        index = max(above, default=-1)
        if has_weights(node, constants):
            nodes.append([node])
            index = len(nodes) - 1
        elif index >= 0 and node.op_type in BETWEEN and set(node.output) & leads_to_layer:
            nodes[index].append(node)
        if index >= 0:
            layer_of |= dict.fromkeys(node.output, index)
    return tuple(
        Layer(
            name=first.name,
            weight=first.input[1],
            nodes=(first.name, *(node.name for node in others)),
            is_head=not set(first.output) & leads_to_layer,
        )
        for first, *others in nodes
    )


def has_weights(node: onnx.NodeProto, constants: set[str]) -> bool:
    """Whether a node multiplies with numbers that stand in the file."""
    return node.op_type in WEIGHTED and node.input[1] in constants


def activations(model: onnx.ModelProto, layers: Sequence[Layer]) -> list[str]:
    """Names of the float tensors that the layers' nodes take and answer."""
    graph = model.graph
    members = {name for layer in layers for name in layer.nodes}
    values = {value.name: value for value in (*graph.value_info, *graph.output)}
    touched = [name for node in graph.node if node.name in members for name in (*node.input, *node.output)]
    return [
        name
        for name in dict.fromkeys(touched)
        if name in values and values[name].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    ]


def nodes_outside(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes before the first layers and after the last ones: normalisation and softmax."""
    constants = {tensor.name for tensor in graph.initializer}
    leads_to_layer = _tensors_before_layers(graph.node, constants)
    comes_from_layer: set[str] = set()
    outside = []
    for node in graph.node:
        is_layer = has_weights(node, constants)
        follows = bool(set(node.input) & comes_from_layer)
        if is_layer or follows:
            comes_from_layer |= set(node.output)
        if not is_layer and not (follows and set(node.output) & leads_to_layer):
            outside.append(node.name)
    return outside


def _tensors_before_layers(nodes: Sequence[onnx.NodeProto], constants: set[str]) -> set[str]:
    """Names of all tensors that some layer's input depends on."""
    before: set[str] = set()
    for node in reversed(nodes):
        if has_weights(node, constants) or set(node.output) & before:
            before |= set(node.input)
    return before
