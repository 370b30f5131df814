"""Whether a network takes pictures of another size, as told by its operations.

Running it at another size tells too little: an exporter writes down the places that an adaptive pooling looks at, and
at another size such a layer goes on looking at those, without a complaint (in torchvision's VGG). What lies between the
picture and the pooling over all places has to be made of operations that treat each place alike. A pooling whose window
happens to be the whole picture is not one over all places: what flattens its answer is found instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import numpy_helper

from mlstack.bundle.session import INPUT

# Each place of the output depends on the same neighbourhood of places, or on the place itself.
LOCAL = frozenset((
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "BatchNormalization", "InstanceNormalization",
    "GroupNormalization", "LayerNormalization", "LRN", "Cast", "Identity", "Dropout", "Add", "Sub", "Mul", "Div",
    "Pow", "Sqrt", "Neg", "Abs", "Exp", "Log", "Min", "Max", "Mean", "Sum", "Reciprocal", "Clip", "Relu",
    "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Gelu", "Erf", "Tanh", "Sigmoid", "HardSigmoid", "HardSwish",
    "Swish", "Mish", "Softplus", "Softsign", "ThresholdedRelu", "MatMul", "Pad", "Transpose", "QuantizeLinear",
    "DequantizeLinear",
))  # fmt: skip
WHOLE = frozenset(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "Shape", "Size"))  # leave no place
REDUCTIONS = frozenset(("ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2"))
OVER_ALL_PLACES = ({2, 3}, {-1, -2}, {1, 2}, {-2, -3})  # channels in front, or behind
ALONG_CHANNELS = frozenset(("Concat", "Split", "Gather"))  # with axis = 1 or, channels behind, -1 or 3


def what_counts_places(model: onnx.ModelProto) -> str | None:
    """The first operation that fits one size only, such as `Reshape` or `GatherND`; None = the network takes any."""
    constants = {one.name: one for one in model.graph.initializer}
    spread = {INPUT}  # tensors that have a value for each place
    for node in model.graph.node:
        if not spread.intersection(node.input):
            continue
        attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type in WHOLE or (node.op_type in REDUCTIONS and _axes(node, attributes, constants)):
            continue
        alike = node.op_type in LOCAL | REDUCTIONS
        alike = alike or (node.op_type in ALONG_CHANNELS and attributes.get("axis", 0) in (1, 3, -1))
        if not alike:
            return str(node.op_type)
        spread.update(node.output)
    return None


def _axes(node: onnx.NodeProto, attributes: Mapping[str, Any], constants: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether a reduction is over all places; the axes are an attribute, or since opset 18 an input."""
    axes = attributes.get("axes")
    if axes is None and len(node.input) > 1 and node.input[1] in constants:
        axes = numpy_helper.to_array(constants[node.input[1]]).tolist()
    return axes is not None and set(axes) in OVER_ALL_PLACES
