"""Run a model on pictures in batches small enough that all activations of one batch fit into little memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mlstack.bundle.session import ERRORS_ONLY
from mlstack.utils.hardware import usable_cores

ACTIVATION_BYTES = 2**26  # of one batch, all tensors that are looked at together
LARGEST_BATCH = 32


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy of a model that answers inner tensors instead of its outputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    known = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    del graph.output[:]
    graph.output.extend(known[name] for name in names)
    return copy


def answers(model: onnx.ModelProto, images: NDArray[np.uint8]) -> Iterator[list[NDArray[np.float32]]]:
    """All outputs of a model, a batch of pictures after the other.

    Args:
        model: Takes uint8 [batch, height, width, channel].
        images: uint8 [n, height, width, channel].
    """
    session = _session(model)
    size = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    batch = size or _batch(model)
    for start in range(0, len(images), batch):
        pictures = images[start : start + batch]
        if size:  # a fixed batch: fill it up with the first pictures
            pictures = np.resize(pictures, (size, *pictures.shape[1:]))
        outputs: list[NDArray[np.float32]] = session.run(None, {model.graph.input[0].name: pictures})
        yield outputs


def _batch(model: onnx.ModelProto) -> int:
    """Pictures whose outputs take at most `ACTIVATION_BYTES`, 4 bytes a number."""
    numbers = 0
    for output in model.graph.output:
        numbers += prod(dim.dim_value or 1 for dim in output.type.tensor_type.shape.dim)
    return int(np.clip(ACTIVATION_BYTES // (4 * max(1, numbers)), 1, LARGEST_BATCH))


def _session(model: onnx.ModelProto) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    options.intra_op_num_threads = usable_cores()
    options.enable_cpu_mem_arena = False  # it would keep a second copy of every activation
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
