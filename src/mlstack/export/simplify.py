"""The same network in fewer nodes, whoever exported it: batch norms are folded into convolutions, shapes are constants.

ONNX Runtime would do most of it at each start; int8 quantisation and other runtimes take the file as it is.
"""

from __future__ import annotations

from typing import Any

import onnx
import onnx_ir
from onnx import numpy_helper
from onnx_ir.passes.common import ShapeInferencePass
from onnxscript import optimizer, rewriter
from onnxscript.rewriter import pattern
from onnxscript.rewriter.rules.common import matmul_add_to_gemm_rule

EVERYTHING = 2**31  # bytes: no weight is too large to be folded into another
ROUNDS = 2  # constants make shapes known, known shapes make constants
PLANE = ([2, 3], [-2, -1], [-1, -2])  # height and width


def simplify(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model that answers the same, with an open batch called `batch`, and without notes about its making.

    Args:
        model: Any ONNX model whose inputs and outputs have the batch as their first dimension; it is left as it is.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _name_batch(copy)
    ir = onnx_ir.from_proto(copy)
    for _ in range(ROUNDS):
        ShapeInferencePass(strict_mode=False)(ir)
        optimizer.optimize(ir, input_size_limit=EVERYTHING, output_size_limit=EVERYTHING)
        rewriter.rewrite(ir)
        rewriter.rewrite(ir, pattern_rewrite_rules=_RULES)
    optimizer.optimize(ir, input_size_limit=EVERYTHING, output_size_limit=EVERYTHING)
    simple: onnx.ModelProto = onnx_ir.to_proto(ir)
    if not _is_whole(simple):
        simple = copy
    _shape_plainly(simple.graph)
    _forget_its_making(simple)
    return simple


def _is_whole(model: onnx.ModelProto) -> bool:
    """Whether nothing got lost: where onnxscript 0.7.2 merges two Reshapes it may drop the shape of the new one."""
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError:
        return False
    return True


def _name_batch(model: onnx.ModelProto) -> None:
    """Call an open first dimension of inputs and outputs `batch`; shapes in between, which have other names, go."""
    for value in (*model.graph.input, *model.graph.output):
        shape = value.type.tensor_type.shape
        if shape.dim and not shape.dim[0].HasField("dim_value"):
            shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]


def _pooling(reduction: str, name: str) -> pattern.RewriteRule:
    """A mean or maximum over height and width is a pooling: runtimes and quantisers know more about that.

    Args:
        reduction: `ReduceMean` or `ReduceMax`, as torch's exporter writes.
        name: `GlobalAveragePool` or `GlobalMaxPool`, as Paddle's does.
    """

    def is_over_the_plane(context: Any, x: Any, axes: Any, **_: Any) -> bool:
        is_picture = x.shape is not None and len(x.shape) == 4
        return is_picture and axes.const_value is not None and axes.const_value.numpy().tolist() in PLANE

    return pattern.RewriteRule(
        lambda op, x, axes: getattr(op, reduction)(x, axes, keepdims=1, _allow_other_attributes=True),
        lambda op, x, axes: getattr(op, name)(x),
        is_over_the_plane,
        name=name,
    )


def _bias() -> pattern.RewriteRule:
    """A number for each channel that is added to a convolution is its bias. Paddle's exporter adds it afterwards."""

    def sum_of(op: Any, x: Any, weight: Any, bias: Any) -> Any:
        return op.Add(op.Conv(x, weight, _allow_other_attributes=True, _outputs=["sums"]), bias)

    def is_bias(context: Any, weight: Any, bias: Any, sums: Any, **_: Any) -> bool:
        if bias.const_value is None or weight.const_value is None or len(sums.producer().inputs) > 2:
            return False
        wanted = (weight.const_value.shape[0], *(1 for _ in weight.const_value.shape[2:]))  # channel, 1, 1
        return tuple(bias.const_value.shape) in (wanted, (1, *wanted))

    def convolution(op: Any, x: Any, weight: Any, bias: Any, sums: Any) -> Any:
        flat = onnx_ir.tensor(bias.const_value.numpy().reshape(-1))
        return op.Conv(x, weight, op.Constant(value=flat), **sums.producer().attributes)

    return pattern.RewriteRule(sum_of, convolution, is_bias, name="ConvBias")


def _flattening() -> pattern.RewriteRule:
    """[batch, …] made [batch, all the rest] by way of computed shapes, as Paddle's exporter writes `flatten(1)`."""

    def reshape(op: Any, x: Any, start: Any, end: Any, axes: Any, rest: Any) -> Any:
        return op.Reshape(x, op.Concat(op.Slice(op.Shape(x), start, end, axes), rest, axis=0))

    def is_flat(context: Any, start: Any, end: Any, axes: Any, rest: Any, **_: Any) -> bool:
        values = (start.const_value, end.const_value, axes.const_value, rest.const_value)
        wanted: tuple[list[int], ...] = ([0], [1], [0], [-1])
        pairs = zip(values, wanted, strict=True)
        return all(value is not None and value.numpy().tolist() == numbers for value, numbers in pairs)

    return pattern.RewriteRule(reshape, lambda op, x, **_: op.Flatten(x, axis=1), is_flat, name="Flatten")


_RULES = [
    _flattening(),
    _pooling("ReduceMean", "GlobalAveragePool"),
    _pooling("ReduceMax", "GlobalMaxPool"),
    _bias(),
    matmul_add_to_gemm_rule,
]


def _shape_plainly(graph: onnx.GraphProto) -> None:
    """Leave away what makes a Reshape take 0 literally where there is no 0: not every runtime knows that."""
    shapes = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.INT64}
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in shapes and numpy_helper.to_array(shapes[node.input[1]]).all():
            del node.attribute[:]


def _forget_its_making(model: onnx.ModelProto) -> None:
    """Drop stack traces and names of Python modules: half of a small file, and folders of whoever exported it."""
    del model.metadata_props[:]
    del model.graph.value_info[:]
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    model.doc_string = ""
