"""How much a layer's int8 changes the answers when it is the only one: the order in which layers stay in 32 bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from mlstack.export.quantize.feeding import answers, with_outputs
from mlstack.export.quantize.layers import Layer

IMAGES = 16  # that a layer's error is measured on


def layer_errors(
    model: onnx.ModelProto,
    layers: Sequence[Layer],
    quantized: Callable[[Sequence[Layer]], onnx.ModelProto],
    images: NDArray[np.uint8],
) -> dict[str, float]:
    """Each layer's name with the error that it alone causes in the last layers' outputs.

    The error is relative: ‖with it in int8 − in 32 bits‖ / ‖in 32 bits‖. Rounded weights and rounded activations both
    count, so that a range stretched by a few outliers shows up.

    Args:
        model: In 32 bits.
        layers: All of its layers.
        quantized: The model with only these layers in int8.
        images: uint8 [n, height, width, channel]; the first 16 are used.
    """
    some = images[:IMAGES]
    producers = {node.name: node.output[0] for node in model.graph.node}
    outputs = [producers[layer.name] for layer in layers if layer.is_head]
    exact = _run(model, outputs, some)
    errors = {}
    for layer in layers:
        rounded = _run(quantized([layer]), outputs, some)
        distance = float(np.linalg.norm(rounded - exact) / max(float(np.linalg.norm(exact)), 1e-12))
        errors[layer.name] = distance if np.isfinite(distance) else float("inf")
    return errors


def _run(model: onnx.ModelProto, outputs: Sequence[str], images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """All numbers of some tensors, one after the other: float32 [n]."""
    batches = [
        np.concatenate([one.reshape(-1) for one in out]) for out in answers(with_outputs(model, outputs), images)
    ]
    return np.concatenate(batches)
