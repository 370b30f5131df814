"""A network in the form that quantisation needs: batch norms folded, shapes known, each node with a name of its own."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from google.protobuf.message import DecodeError
from onnx import version_converter

from mlstack.bundle.session import ERRORS_ONLY, runtime_errors
from mlstack.errors import ExportError

OLDEST_OPSET = 13  # the first one with a scale for each channel


def prepare(path: Path) -> onnx.ModelProto:
    """Load a model file and simplify it; the file is left as it is.

    Raises:
        ExportError: The file can't be loaded, or is too old to be brought up to date.
    """
    try:
        model = onnx.shape_inference.infer_shapes(_optimized(path))
    except (OSError, DecodeError, version_converter.ConvertError, *runtime_errors()) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ExportError(f"{path} can't be quantised: {reason}") from error
    tidy(model)
    _name_nodes(model.graph)
    return model


def tidy(model: onnx.ModelProto) -> None:
    """Put in order what ONNX Runtime's tools leave behind: nodes before their inputs, notes, unused operator sets."""
    used = {node.domain for node in model.graph.node} | {""}
    needed = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:], model.metadata_props[:]
    model.opset_import.extend(needed)
    for node in model.graph.node:
        del node.metadata_props[:]  # torch's exporter puts a stack trace here
    _sort(model.graph)


def _optimized(path: Path) -> onnx.ModelProto:
    """The model after ONNX Runtime's basic optimisation, which every runtime understands: batch norms are folded."""
    import onnxruntime

    with TemporaryDirectory() as folder:
        recent, simple = Path(folder) / "recent.onnx", Path(folder) / "simple.onnx"
        onnx.save(_up_to_date(path), recent)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = ERRORS_ONLY
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(simple)
        onnxruntime.InferenceSession(str(recent), options, providers=["CPUExecutionProvider"])
        return onnx.load(simple)


def _up_to_date(path: Path) -> onnx.ModelProto:
    model = onnx.load(path)
    opset = next(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
    return model if opset >= OLDEST_OPSET else version_converter.convert_version(model, OLDEST_OPSET)


def _name_nodes(graph: onnx.GraphProto) -> None:
    taken = {node.name for node in graph.node if node.name}
    seen: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            node.name = next(
                name
                for suffix in range(len(graph.node) + 1)
                if (name := f"{node.op_type}_{index + suffix}") not in taken | seen
            )
        seen.add(node.name)


def _sort(graph: onnx.GraphProto) -> None:
    """Put each node behind those whose outputs it takes, otherwise in the order in which they stand."""
    made = {output for node in graph.node for output in node.output}
    waiting = {index: _taken(node) & made for index, node in enumerate(graph.node)}
    takers: dict[str, list[int]] = {}
    for index, names in waiting.items():
        for name in names:
            takers.setdefault(name, []).append(index)
    ready = [index for index, names in waiting.items() if not names]
    heapify(ready)
    order = []
    while ready:
        order.append(graph.node[heappop(ready)])
        for name in order[-1].output:
            for index in takers.get(name, ()):
                waiting[index].discard(name)
                if not waiting[index]:
                    heappush(ready, index)
    sorted_nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in order]
    del graph.node[:]
    graph.node.extend(sorted_nodes)


def _taken(node: onnx.NodeProto) -> set[str]:
    """Names of the tensors that a node needs, those that its inner graphs (`If`, `Loop`) take from outside included."""
    inner = [graph for attribute in node.attribute for graph in (attribute.g, *attribute.graphs)]
    return set(node.input).union(*(_taken(one) for graph in inner for one in graph.node))
