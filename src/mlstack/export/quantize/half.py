"""Weights and activations in 16 bits: half the size; meant for GPUs with fp16 units.

On a CPU it gains nothing but size: ONNX Runtime's kernels there compute in 32 bits and convert.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mlstack.bundle.session import Session
from mlstack.config.export import QuantizeConfig
from mlstack.errors import ExportError
from mlstack.export.quantize.layers import activations, find_layers, nodes_outside
from mlstack.export.quantize.prepare import prepare, tidy
from mlstack.export.quantize.ranges import activation_ranges
from mlstack.export.quantize.result import Quantized, points

BATCH = 8
LARGEST_HALF = 65504.0


def to_half(
    model: Path,
    output: Path,
    *,
    settings: QuantizeConfig,
    calibration: NDArray[np.uint8],
    score: Callable[[Path], float],
    baseline: float,
) -> Quantized:
    """Write a model in 16 bits; arguments as `quantize`'s.

    Normalisation before the first layer and what follows the last one stay in 32 bits, so that neither pixels lose
    digits nor a regression's values, in the targets' own units, leave the range of fp16 (65,504).

    Raises:
        ExportError: An activation leaves the range of fp16, or more than `settings.max_drop` points are lost.
    """
    floats = prepare(model)
    largest = _largest_activation(floats, calibration)
    with TemporaryDirectory() as folder:
        attempt = Path(folder) / "half.onnx"
        onnx.save(_halved(floats), attempt)
        likeness = _likeness(model, attempt, calibration)
        reached = score(attempt)
        drop = points(baseline, reached)
        if drop > settings.max_drop:
            raise ExportError(
                f"fp16 loses {drop:.2f} points; quantize.max_drop={settings.max_drop:g} allows no more",
                hint="somewhere the network needs more than 3 digits: deploy it in 32 bits, or raise the limit",
            )
        output.write_bytes(attempt.read_bytes())
    details = {"drop": drop, "size_ratio": output.stat().st_size / model.stat().st_size, **likeness}
    details["largest_activation"] = largest
    quantized = len(find_layers(floats.graph))
    return Quantized("fp16", left_out=(), quantized=quantized, score=reached, details=details)


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    halved: onnx.ModelProto = convert_float_to_float16(
        model,
        keep_io_types=True,
        op_block_list=DEFAULT_OP_BLOCK_LIST,
        node_block_list=nodes_outside(model.graph),
    )
    tidy(halved)
    return halved


def _largest_activation(model: onnx.ModelProto, images: NDArray[np.uint8]) -> float:
    """The greatest absolute value between the layers, on pictures and in 32 bits.

    Not looked for in the file in 16 bits: ONNX Runtime's CPU kernels compute that in 32, where nothing overflows.
    """
    layers = find_layers(model.graph)
    tensors = activations(model, layers)
    ranges = activation_ranges(model, tensors, images, method="minmax")
    largest = {name: max(-low, high) for name, (low, high) in ranges.items()}
    worst = max(largest, key=lambda name: largest[name], default="")
    if worst and largest[worst] > LARGEST_HALF:
        raise ExportError(
            f"activation {worst} reaches {largest[worst]:,.0f}, fp16 ends at {LARGEST_HALF:,.0f}",
            hint="deploy the network in 32 bits, or in int8: quantize.mode=int8",
        )
    return largest.get(worst, 0.0)


def _likeness(exact: Path, halved: Path, images: NDArray[np.uint8]) -> dict[str, Any]:
    """Greatest relative error and share of equal decisions on pictures, against the file in 32 bits."""
    theirs, ours = (_run(path, images) for path in (exact, halved))
    error = float(np.abs(ours - theirs).max() / max(float(np.abs(theirs).max()), 1e-12))
    return {"relative_error": error, "agreement": float((_decisions(ours) == _decisions(theirs)).mean())}


def _run(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = Session(path)
    starts = range(0, len(images), BATCH)
    return np.concatenate([session.run(images[start : start + BATCH]).output for start in starts])


def _decisions(output: NDArray[np.float32]) -> NDArray[Any]:
    """The likeliest class where rows sum to 1; each label on its own where they don't."""
    is_distribution = np.allclose(output.sum(axis=1), 1, atol=1e-3)
    return output.argmax(axis=1) if is_distribution else output > 0.5
