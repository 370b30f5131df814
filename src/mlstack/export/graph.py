"""A network between pixels and logits, completed to what a bundle promises: from pictures as they are to answers.

    images uint8 [batch, height, width, channel]
      → Transpose, Cast, × 1 / (255 std), − mean / std          nodes `preprocess/…`
      → the network: logits, features
      → ÷ temperature, Softmax | Sigmoid                        nodes `answer/…`
    probabilities | values float32 [batch, answer], features float32 [batch, feature]

No constant depends on height or width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mlstack.export.simplify import simplify

PREPROCESS, ANSWER = "preprocess/", "answer/"  # how the names of the added nodes and constants begin
PIXELS, LOGITS, FEATURES = "pixels", "logits", "features"  # what the core takes and answers
IMAGES = "images"
OUTPUTS = {"classification": "probabilities", "multilabel": "probabilities", "regression": "values"}
ACTIVATIONS = {"classification": "Softmax", "multilabel": "Sigmoid", "regression": "Identity"}
SMALLEST = 1e-12  # of a probability whose logarithm is taken


def complete(
    core: onnx.ModelProto,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    channels: int,
    height: int,
    width: int,
    task: str,
    temperature: float = 1.0,
    color: str = "rgb",
    answers: str = "logits",
) -> onnx.ModelProto:
    """Put normalisation before a network and probabilities after it.

    Args:
        core: From `pixels` float32 [batch, channel, height, width] to `logits` [batch, answer] and `features`
            [batch, feature]; the batch may be a number, then it stays that.
        mean: Of each channel, 0 to 1, in the order in which the core takes them.
        std: Of each channel, above 0.
        channels: Of the pictures.
        height: Of the pictures, pixels.
        width: Of the pictures, pixels.
        task: `data.task`.
        temperature: What logits are divided by before they become probabilities; 1 of a regression.
        color: Order in which the core takes channels, `rgb` or `bgr`; the pictures are RGB.
        answers: What the core calls `logits`: those, or `probabilities` of a classification.
    """
    model = simplify(core)
    graph = model.graph
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_value or "batch"
    widths = {output.name: output.type.tensor_type.shape.dim[1].dim_value or None for output in graph.output}
    _rename(graph, {name: f"network/{name}" for name in (IMAGES, OUTPUTS[task])})
    before = _normalisation(mean, std, is_bgr=color == "bgr")
    after = _answer(task, temperature, is_probability=answers == "probabilities")
    nodes = [*before.nodes, *graph.node, *after.nodes]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*before.constants, *after.constants])
    graph.input.append(helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, [batch, height, width, channels]))
    for name, inner in ((OUTPUTS[task], LOGITS), (FEATURES, FEATURES)):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, widths[inner]]))
    graph.name = model.producer_name = "mlstack"
    model.producer_version = ""
    model.ir_version = helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    return model


class Chain:
    """Nodes one after the other, from one tensor to another, each named after what it does.

    Args:
        prefix: How names of nodes, constants and tensors in between begin.
        source: Name of the tensor that goes in.
        target: Name of the tensor that comes out.
    """

    def __init__(self, prefix: str, source: str, target: str) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.source, self.target = source, target

    def add(self, operation: str, value: NDArray[Any] | None = None, **attributes: Any) -> None:
        """Let an operation follow; with `value` that is its second input."""
        before = self.nodes[-1].output[0] if self.nodes else self.source
        if self.nodes:
            before = self.nodes[-1].output[0] = f"{self.prefix}{len(self.nodes)}"
        inputs = [before]
        name = f"{self.prefix}{operation}"
        if value is not None:
            self.constants.append(numpy_helper.from_array(value, f"{name}/by"))
            inputs.append(f"{name}/by")
        self.nodes.append(helper.make_node(operation, inputs, [self.target], name=name, **attributes))


def _normalisation(mean: Sequence[float], std: Sequence[float], *, is_bgr: bool) -> Chain:
    """(x / 255 − mean) / std as one multiplication and one addition, as the engines' networks do it."""
    deviation = np.array(std, np.float32)
    chain = Chain(PREPROCESS, IMAGES, PIXELS)
    chain.add("Transpose", perm=[0, 3, 1, 2])  # of bytes: a quarter of what floats would move
    if is_bgr:
        chain.add("Gather", np.array([2, 1, 0]), axis=1)
    chain.add("Cast", to=TensorProto.FLOAT)
    chain.add("Mul", (1 / (255 * deviation)).reshape(1, -1, 1, 1))
    chain.add("Add", (-np.array(mean, np.float32) / deviation).reshape(1, -1, 1, 1))
    return chain


def _answer(task: str, temperature: float, *, is_probability: bool) -> Chain:
    """From logits, or from the probabilities that a network of one's own answers, to the bundle's first output."""
    chain = Chain(ANSWER, LOGITS, OUTPUTS[task])
    if is_probability and temperature == 1:
        chain.add("Identity")
        return chain
    if is_probability:
        chain.add("Max", np.array(SMALLEST, np.float32))
        chain.add("Log")  # up to a constant the logits that they were made of
    if temperature != 1:
        chain.add("Mul", np.array(1 / temperature, np.float32))
    attributes: dict[str, Any] = {"axis": 1} if task == "classification" else {}
    chain.add(ACTIVATIONS[task], **attributes)
    return chain


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give tensors of the core other names, also where inner graphs (`If`, `Loop`) use them."""
    for value in (*graph.initializer, *graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        for places in (node.input, node.output):
            for index, name in enumerate(places):
                places[index] = names.get(name, name)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, names)
