"""From an ONNX classifier of somebody else's to the core that `graph.complete` takes.

Around the graph, which stays as it is: a cast to its float type and, where it wants the channel last, a transposition
in front; at the end its answers as [batch, class] and, as `features`, what its last linear layer sees. A Softmax at
the end of a model that answers probabilities is cut off: `complete` puts its own there. A batch that the file fixes
becomes dynamic, where the graph then still gives each picture the answers that it got alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, compose, helper, numpy_helper

from mlstack.errors import ExportError
from mlstack.export.own_file import OwnFile
from mlstack.export.own_run import answers_of, runs_any_batch

PREFIX = "own/"  # so that no name of theirs can be one of ours
LINEAR = ("Gemm", "MatMul", "Conv")
# What may stand between the last linear layer and the answers.
AFTER_IT = (
    *("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Add", "Softmax"),
    *("QuantizeLinear", "DequantizeLinear"),
)


@dataclass(frozen=True)
class OwnCore:
    """What `complete` takes, and what was found out on the way.

    Attributes:
        model: Input `pixels` float32 [batch, channel, height, width]; outputs `logits` float32 [batch, class] and
            `features` float32 [batch, feature].
        classes: How many numbers it answers with.
        features: Width of `features`.
        features_from: Name of the layer that sees them; empty where there is none, and the answers stand in.
        batch: The only number of pictures a call takes; None = any.
        answers: `logits` or `probabilities`: what `logits` is.
    """

    model: onnx.ModelProto
    classes: int
    features: int
    features_from: str
    batch: int | None
    answers: str


def core_of(own: OwnFile, pixels: NDArray[np.float32], *, channel_last: bool, answers: str) -> OwnCore:
    """Put the graph into a frame of our own.

    Args:
        own: The file.
        pixels: float32 [3, channel, height, width], normalised pictures to try it with.
        channel_last: Whether it takes [batch, height, width, channel].
        answers: What it answers: `logits` or `probabilities`.

    Raises:
        ExportError: ONNX Runtime can't run it, or its answers are not what `answers` says.
    """
    inner = compose.add_prefix(own.model, PREFIX)
    del inner.graph.value_info[:]  # shapes of the batch that it was written for
    result = PREFIX + own.output
    _check_answers(own, pixels, channel_last=channel_last, answers=answers)
    if answers == "probabilities" and (softmax := _softmax(inner, result)) is not None:
        result, answers = softmax.input[0], "logits"
    layer = _last_linear(inner, result)
    framed = _framed(own, inner, result, layer, pixels, channel_last=channel_last)
    some = _some(own, pixels)
    logits, features = answers_of(framed, some, own.path)
    if len(features) != len(some):  # what that layer takes is not a row for each picture
        layer, features = None, logits
        framed = _framed(own, inner, result, None, pixels, channel_last=channel_last)
    for output, answer in zip(framed.graph.output, (logits, features), strict=True):
        output.type.tensor_type.shape.dim[1].dim_value = answer.shape[1]
    model, batch = _with_any_batch(own, framed, pixels)
    name = "" if layer is None else (layer.name or layer.output[0]).removeprefix(PREFIX)
    return OwnCore(model, logits.shape[1], features.shape[1], name, batch, answers)


def _some(own: OwnFile, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """As many pictures as a call of the file takes."""
    return pixels[np.arange(own.dims[0] or 1) % len(pixels)]


def _check_answers(own: OwnFile, pixels: NDArray[np.float32], *, channel_last: bool, answers: str) -> None:
    """Refuse answers that are no [batch, class], or that `answers=` calls by the wrong name."""
    asked = _some(own, pixels)
    count = len(asked)
    asked = asked.transpose(0, 2, 3, 1) if channel_last else asked
    (given,) = answers_of(own.model, asked.astype(own.dtype), own.path)
    shape = given.shape
    if len(shape) < 2 or shape[0] != count or any(size != 1 for size in shape[2:]) or shape[1] < 2:
        raise ExportError(
            f"onnx={own.path}: for {count} pictures it answers {list(shape)}",
            hint="allowed: [batch, class] with at least two classes, a number for each",
        )
    rows = given.reshape(count, -1).astype(np.float64)
    are_shares = bool((rows >= 0).all() and np.allclose(rows.sum(axis=1), 1, atol=1e-2))
    if are_shares and answers == "logits":
        raise ExportError(
            f"answers=logits, but the answers of {own.path} are probabilities: each row sums to 1",
            hint="type answers=probabilities",
        )
    if not are_shares and answers == "probabilities":
        low, high = rows.min(), rows.max()
        raise ExportError(
            f"answers=probabilities, but the answers of {own.path} don't sum to 1: they lie in {low:.3g} … {high:.3g}",
            hint="type answers=logits",
        )


def _softmax(model: onnx.ModelProto, result: str) -> NodeProto | None:
    """The Softmax over the classes that gives the answers, if one does."""
    node = _maker(model, result)
    if node is None or node.op_type != "Softmax":
        return None
    axis = next((helper.get_attribute_value(one) for one in node.attribute if one.name == "axis"), -1)
    return node if axis in (1, -1) else None


def _last_linear(model: onnx.ModelProto, result: str) -> NodeProto | None:
    """The linear layer that gives the answers, with nothing but its bias and a change of shape behind it."""
    weights = {weight.name for weight in model.graph.initializer}
    node = _maker(model, result)
    while node is not None and node.op_type in AFTER_IT:
        made = [name for name in node.input if name and name not in weights and _maker(model, name) is not None]
        if node.op_type == "Add" and len(made) > 1:
            made = [name for name in made if not _is_constant(model, name)]
            if len(made) != 1:
                return None  # two branches meet: neither is the last one
        node = _maker(model, made[0]) if made else None
    if node is None or node.op_type not in LINEAR or node.input[0] in weights:
        return None
    return node


def _is_constant(model: onnx.ModelProto, name: str) -> bool:
    node = _maker(model, name)
    return node is not None and node.op_type in ("Constant", "DequantizeLinear")


def _maker(model: onnx.ModelProto, name: str) -> NodeProto | None:
    return next((node for node in model.graph.node if name in node.output), None)


def _framed(
    own: OwnFile,
    inner: onnx.ModelProto,
    result: str,
    layer: NodeProto | None,
    pixels: NDArray[np.float32],
    *,
    channel_last: bool,
) -> onnx.ModelProto:
    """The graph with our names and types around it; its features are the answers where there is no last layer."""
    channels, height, width = pixels.shape[1:]
    before = list(_front(PREFIX + own.input, own.dtype, channel_last=channel_last))
    same = [helper.make_node("Identity", ["logits"], ["features"], name="features_same")]
    after = [*_end(result, "logits"), *(same if layer is None else _end(layer.input[0], "features"))]
    model = onnx.ModelProto()
    model.CopyFrom(inner)
    graph = model.graph
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    batch = own.dims[0] or "batch"
    graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, channels, height, width]))
    for name in ("logits", "features"):
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, None]))
    return model


def _front(target: str, dtype: str, *, channel_last: bool) -> Iterator[NodeProto]:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    typed = f"{target}/typed" if channel_last else target
    yield helper.make_node("Cast", ["pixels"], [typed], name="pixels_cast", to=kind)
    if channel_last:
        yield helper.make_node("Transpose", [typed], [target], name="pixels_last", perm=[0, 2, 3, 1])


def _end(source: str, name: str) -> Iterator[NodeProto]:
    yield helper.make_node("Cast", [source], [f"{name}/float"], name=f"{name}_cast", to=TensorProto.FLOAT)
    yield helper.make_node("Flatten", [f"{name}/float"], [name], name=f"{name}_flat", axis=1)


def _with_any_batch(
    own: OwnFile, model: onnx.ModelProto, pixels: NDArray[np.float32]
) -> tuple[onnx.ModelProto, int | None]:
    """The model with a dynamic batch where that gives the same answers, else as it is with its fixed batch."""
    fixed = own.dims[0]
    single = fixed or 1
    for candidate in (_dynamic(model), _dynamic(_reshaped(model, single))):
        if runs_any_batch(candidate, model, pixels, fixed=single, path=own.path):
            return candidate, None
    if fixed is None:  # it says that any batch will do, and does not keep to it
        return _fixed(model, 1), 1
    return model, fixed


def _dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    return _renamed_batch(model, "batch")


def _fixed(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    return _renamed_batch(model, batch)


def _renamed_batch(model: onnx.ModelProto, batch: str | int) -> onnx.ModelProto:
    """The same graph, input and outputs with this first dimension."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value in (*changed.graph.input, *changed.graph.output):
        dim = value.type.tensor_type.shape.dim[0]
        dim.Clear()
        if isinstance(batch, int):
            dim.dim_value = batch
        else:
            dim.dim_param = batch
    return changed


def _reshaped(model: onnx.ModelProto, batch: int) -> onnx.ModelProto:
    """The same graph, where a Reshape to [batch, …] takes the batch from its input: 0 stands for that."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    weights = {weight.name: weight for weight in changed.graph.initializer}
    constants = {node.output[0]: node for node in changed.graph.node if node.op_type == "Constant"}
    for index, node in enumerate(changed.graph.node):
        if node.op_type != "Reshape" or any(one.name == "allowzero" and one.i for one in node.attribute):
            continue
        name = node.input[1]
        if name in constants and constants[name].attribute[0].name == "value":
            shape = numpy_helper.to_array(constants[name].attribute[0].t)
        elif name in weights:
            shape = numpy_helper.to_array(weights[name])
        else:
            continue
        if len(shape) > 1 and shape[0] == batch:
            new = np.concatenate([[0], shape[1:]]).astype(np.int64)  # as many dimensions, the first one copied
            changed.graph.initializer.append(numpy_helper.from_array(new, f"{PREFIX}shape/{index}"))
            node.input[1] = f"{PREFIX}shape/{index}"
    return changed
