"""Another picture size, or a fixed number of pictures a call, for an ONNX model that keeps the contract of a bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import shape_inference

from mlstack.bundle.session import Session
from mlstack.errors import BundleError, ExportError
from mlstack.export.any_size import what_counts_places


def resize_input(source: Path, output: Path, *, height: int, width: int, batch: int | None = None) -> None:
    """Write a model anew for pictures of another size, and run it once.

    A network that ends in a pooling over all places takes any size (`any_size.py`); its answers change with it, since
    it sees the same things larger or smaller: measure them again.

    Args:
        source: An ONNX file of a bundle.
        output: The file to write.
        height: Of the pictures, in pixels.
        width: Of the pictures, in pixels.
        batch: The only number of pictures a call takes; None = any.

    Raises:
        ExportError: The network fits one size only, or can't be run at the new one.
    """
    model = onnx.load(source)
    channels = model.graph.input[0].type.tensor_type.shape.dim[3].dim_value
    before = [_dim(model.graph.input[0], axis) for axis in (1, 2)]
    if [height, width] != before and (operation := what_counts_places(model)):
        raise _fits_one_size(source, before, height, width, operation)
    for value, dims in (
        (model.graph.input[0], (batch, height, width)),
        *((one, (batch,)) for one in model.graph.output),
    ):
        for axis, size in enumerate(dims):
            _set(value, axis, size)
    del model.graph.value_info[:]  # shapes in between, of the old size
    try:
        onnx.save(shape_inference.infer_shapes(model), output)
        Session(output).run(np.zeros((batch or 1, height, width, channels), np.uint8))
    except (BundleError, shape_inference.InferenceError) as error:
        output.unlink(missing_ok=True)
        reason = str(error).splitlines()[0]
        raise ExportError(f"{source} can't be run on {batch or 1} x {height}x{width}: {reason}") from error


def _fits_one_size(source: Path, before: list[int], height: int, width: int, operation: str) -> ExportError:
    return ExportError(
        f"{source} takes pictures of {before[0]}x{before[1]} only, not of {height}x{width}: an operation in it "
        f"({operation}) counts their places",
        hint=f"train it for that size and export it again: python scripts/train.py … data.image_size={height}",
    )


def _dim(value: onnx.ValueInfoProto, axis: int) -> int:
    """Size of an axis; 0 = left open."""
    return int(value.type.tensor_type.shape.dim[axis].dim_value)


def _set(value: onnx.ValueInfoProto, axis: int, size: int | None) -> None:
    dim = value.type.tensor_type.shape.dim[axis]
    if size is None:
        dim.dim_param = "batch"
    else:
        dim.dim_value = size
