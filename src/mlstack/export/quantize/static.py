"""Calibrated int8 for convolutions and linear layers: weights and activations as bytes, by ONNX Runtime's quantiser.

Activations are uint8 and weights int8, one scale for each output channel: 0.27 × the latency of 32 bits (resnet18 at
28 pixels, one thread, AVX512-VNNI). Activations in int8 make that 0.75 ×, weights in uint8 0.63 ×; one scale for all
channels changes nothing.

The file holds QuantizeLinear and DequantizeLinear around ordinary nodes; runtimes fuse them for their processor.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mlstack.config.export import QuantizeConfig
from mlstack.errors import ExportError
from mlstack.export.quantize.budget import Search
from mlstack.export.quantize.layers import BETWEEN, WEIGHTED, Layer, activations, find_layers
from mlstack.export.quantize.prepare import prepare, tidy
from mlstack.export.quantize.ranges import Range, activation_ranges
from mlstack.export.quantize.result import Quantized, points
from mlstack.export.quantize.sensitivity import layer_errors
from mlstack.utils.console import say

# A last layer's answers are logits, which softmax takes in 32 bits; elsewhere the conversion costs hardly anything.
ANSWER_IN_FLOAT = ["Gemm", "MatMul"]


class Int8Graph:
    """Writes a network with any of its layers in int8, from ranges that were found once.

    Args:
        model: In 32 bits, as `prepare` returns it.
        calibration: uint8 [n, height, width, channel].
        method: How ranges are found.

    Attributes:
        layers: Those that can become int8.
    """

    def __init__(self, model: onnx.ModelProto, calibration: NDArray[np.uint8], *, method: str) -> None:
        self.model = model
        self.layers = find_layers(model.graph)
        self._ranges = activation_ranges(model, activations(model, self.layers), calibration, method=method)

    def with_layers(self, layers: Sequence[Layer]) -> onnx.ModelProto:
        """A copy of the model with these layers in int8, at least one."""
        from onnxruntime.quantization import CalibrationMethod, QuantType
        from onnxruntime.quantization.calibrate import TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        quantizer = QDQQuantizer(
            copy,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, _arrays(self._ranges)),
            nodes_to_quantize=[name for layer in layers for name in layer.nodes],
            nodes_to_exclude=[],
            op_types_to_quantize=[*WEIGHTED, *BETWEEN],
            extra_options={"OpTypesToExcludeOutputQuantization": ANSWER_IN_FLOAT},
        )
        quantizer.quantize_model()
        model: onnx.ModelProto = quantizer.model.model
        tidy(model)
        return model


def to_int8(
    model: Path,
    output: Path,
    *,
    settings: QuantizeConfig,
    calibration: NDArray[np.uint8],
    score: Callable[[Path], float],
    baseline: float,
) -> Quantized:
    """Write a model in int8 that loses at most `settings.max_drop` points; arguments as `quantize`'s.

    Raises:
        ExportError: The model has no layer to quantise, or loses more than the budget with any of them in int8.
    """
    floats = prepare(model)
    if not find_layers(floats.graph):
        raise ExportError(f"{model} has no convolution or linear layer: int8 would change nothing")
    graph = Int8Graph(floats, calibration, method=settings.method)
    with TemporaryDirectory() as folder:
        attempts = Attempts(graph, Path(folder), calibration, score=score, baseline=baseline)
        search = Search(attempts.drop_without, len(graph.layers), settings.max_drop)
        left_out = search.fewest()
        if left_out is None:
            raise _over_budget(settings, search.drops, len(graph.layers))
        shutil.copyfile(attempts.file(left_out), output)
        return attempts.result(left_out, settings, size_ratio=output.stat().st_size / model.stat().st_size)


class Attempts:
    """Files with the 0, 1, 2, … most sensitive layers in 32 bits, and what they score.

    Args:
        graph: Writes them.
        folder: Where they go.
        calibration: uint8 [n, height, width, channel], on which sensitivity is measured.
        score: Measures a file.
        baseline: Its measure of the model in 32 bits.
    """

    def __init__(
        self,
        graph: Int8Graph,
        folder: Path,
        calibration: NDArray[np.uint8],
        *,
        score: Callable[[Path], float],
        baseline: float,
    ) -> None:
        self.graph, self.folder, self.calibration = graph, folder, calibration
        self.score, self.baseline = score, baseline
        self.errors: dict[str, float] = {}  # measured once a layer has to be left out
        self.scores: dict[int, float] = {}

    def file(self, left_out: int) -> Path:
        return self.folder / f"{left_out}.onnx"

    def drop_without(self, left_out: int) -> float:
        """Points that are lost with so many layers left out; the file stays in the folder."""
        layers = self.graph.layers
        kept = [layer for layer in layers if layer.name not in self.worst(left_out)]
        onnx.save(self.graph.with_layers(kept), self.file(left_out))
        self.scores[left_out] = self.score(self.file(left_out))
        drop = points(self.baseline, self.scores[left_out])
        say(f"int8 in {len(kept)} of {len(layers)} layers: {drop:+.2f} points lost")
        return drop

    def worst(self, count: int) -> tuple[str, ...]:
        """Names of the most sensitive layers, the worst first."""
        if count and not self.errors:
            layers = self.graph.layers
            say(f"measuring how sensitive each of {len(layers)} layers is")
            self.errors = layer_errors(self.graph.model, layers, self.graph.with_layers, self.calibration)
        return tuple(sorted(self.errors, key=lambda name: -self.errors[name])[:count])

    def result(self, left_out: int, settings: QuantizeConfig, *, size_ratio: float) -> Quantized:
        weights = {layer.name: layer.weight for layer in self.graph.layers}
        names = self.worst(left_out)
        details: dict[str, Any] = {
            "drop": points(self.baseline, self.scores[left_out]),
            "size_ratio": size_ratio,
            "layers": len(weights),
            "sensitive": [{"node": name, "weight": weights[name], "error": self.errors[name]} for name in names],
            "calibration": {"method": settings.method, "images": len(self.calibration), "seed": settings.seed},
            "measurements": len(self.scores),
        }
        quantized = len(weights) - left_out
        return Quantized("int8", left_out=names, quantized=quantized, score=self.scores[left_out], details=details)


def _arrays(ranges: dict[str, Range]) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    return {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()}


def _over_budget(settings: QuantizeConfig, drops: dict[int, float], layers: int) -> ExportError:
    best = min(drops, key=lambda left_out: drops[left_out])
    others = " or ".join(name for name in ("entropy", "percentile", "minmax") if name != settings.method)
    return ExportError(
        f"int8 loses {drops[best]:.2f} points even with {best} of {layers} layers left in 32 bits; "
        f"quantize.max_drop={settings.max_drop:g} allows no more",
        hint=f"try quantize.method={others}, or quantize.images={4 * settings.images}\n"
        "or train an epoch with the rounding in it (trainer.quantization_aware): recipe=quantization_aware\n"
        f"or allow the loss: quantize.max_drop={np.ceil(drops[best] * 10) / 10:g}",
    )
