"""Int8 for linear layers only: weights as bytes in the file, activations rounded as they come, no calibration.

The range of an activation is that of the batch at hand: an answer depends a little on the other pictures of its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx

from mlstack.config.export import QuantizeConfig
from mlstack.errors import ExportError
from mlstack.export.quantize.layers import Layer, find_layers
from mlstack.export.quantize.prepare import prepare, tidy
from mlstack.export.quantize.result import Quantized, points
from mlstack.utils.console import say

LITTLE = 0.5  # share of the weights below which it is said that calibrated int8 does more


def to_dynamic(
    model: Path, output: Path, *, settings: QuantizeConfig, score: Callable[[Path], float], baseline: float
) -> Quantized:
    """Write a model whose linear layers are int8; arguments as `quantize`'s.

    Raises:
        ExportError: It has no linear layer, or loses more than `settings.max_drop` points.
    """
    floats = prepare(model)
    layers = find_layers(floats.graph)
    linear = _linear(floats.graph, layers)
    if not linear:
        message = f"{model} has no linear layer: dynamic quantisation would change nothing"
        raise ExportError(message, hint="quantize.mode=int8 does convolutions")
    share = _share_of_weights(floats.graph, linear, layers)
    with TemporaryDirectory() as folder:
        attempt = Path(folder) / "dynamic.onnx"
        onnx.save(_quantized(floats, linear), attempt)
        reached = score(attempt)
        drop = points(baseline, reached)
        if drop > settings.max_drop:
            raise ExportError(
                f"dynamic int8 loses {drop:.2f} points; quantize.max_drop={settings.max_drop:g} allows no more",
                hint="quantize.mode=int8 leaves sensitive layers in 32 bits",
            )
        output.write_bytes(attempt.read_bytes())
    details: dict[str, Any] = {
        "drop": drop,
        "size_ratio": output.stat().st_size / model.stat().st_size,
        "layers": len(layers),
        "share_of_weights": share,
    }
    if share < LITTLE:
        details["note"] = (
            f"{share:.1%} of the weights are in linear layers, the others stay in 32 bits; "
            "quantize.mode=int8 does convolutions too"
        )
        say(f"note: {details['note']}")
    return Quantized("int8_dynamic", left_out=(), quantized=len(linear), score=reached, details=details)


def _linear(graph: onnx.GraphProto, layers: tuple[Layer, ...]) -> list[Layer]:
    operation = {node.name: node.op_type for node in graph.node}
    return [layer for layer in layers if operation[layer.name] in ("Gemm", "MatMul")]


def _share_of_weights(graph: onnx.GraphProto, some: list[Layer], layers: tuple[Layer, ...]) -> float:
    sizes: dict[str, int] = {tensor.name: prod(tensor.dims) for tensor in graph.initializer}
    return sum(sizes[layer.weight] for layer in some) / sum(sizes[layer.weight] for layer in layers)


def _quantized(model: onnx.ModelProto, linear: list[Layer]) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory() as folder:
        path = Path(folder) / "dynamic.onnx"
        model.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")  # else it asks for that
        # MatMul alone: it turns Gemm into MatMul and Add first.
        quantize_dynamic(
            model, str(path), op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8
        )
        quantized = onnx.load(path)
    tidy(quantized)
    return quantized
