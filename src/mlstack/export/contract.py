"""Whether an ONNX file keeps to what every bundle promises: names, types, dimensions."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto

from mlstack.errors import ExportError
from mlstack.export.graph import FEATURES, IMAGES, OUTPUTS


def check_contract(path: Path) -> None:
    """Refuse a file that a server could not use.

    images uint8 [batch, height, width, channel]; probabilities or values float32 [batch, answer]; features float32
    [batch, feature]. Every dimension but the batch is a number; the batch is open, or a number in all three.

    Raises:
        ExportError: The ONNX checker refuses it, or it does not keep to the contract; the line says what.
    """
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ExportError(f"{path.name} is no valid ONNX: {str(error).strip().splitlines()[0]}") from error
    graph = onnx.load(path, load_external_data=False).graph
    inputs, outputs = ({value.name: _described(value) for value in side} for side in (graph.input, graph.output))
    first = next(iter(outputs), "")
    if list(inputs) != [IMAGES] or first not in OUTPUTS.values() or list(outputs)[1:] != [FEATURES]:
        raise ExportError(
            f"{path.name} goes from {', '.join(inputs)} to {', '.join(outputs)}; "
            f"a bundle's model goes from {IMAGES} to {' or '.join(sorted(set(OUTPUTS.values())))}, and {FEATURES}"
        )
    batch = inputs[IMAGES][1][0]
    for name, (kind, shape) in {**inputs, **outputs}.items():
        wanted, rank = (TensorProto.UINT8, 4) if name == IMAGES else (TensorProto.FLOAT, 2)
        if kind != wanted or len(shape) != rank or shape[0] != batch or not all(isinstance(n, int) for n in shape[1:]):
            found = f"{TensorProto.DataType.Name(kind).lower()} {list(shape)}"
            expected = f"{TensorProto.DataType.Name(wanted).lower()} [{batch}, …], {rank} dimensions"
            raise ExportError(f"{path.name}: {name} is {found}, expected {expected} that are known")


def _described(value: onnx.ValueInfoProto) -> tuple[int, tuple[int | str, ...]]:
    """Element type, and dimensions: a number, or the name of an open one."""
    kind = value.type.tensor_type
    return kind.elem_type, tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in kind.shape.dim
    )
