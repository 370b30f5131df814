"""Read an ONNX file that somebody else has made, and say in one line why it can't be wrapped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, ValueInfoProto, version_converter

from mlstack.errors import ExportError

OLDEST_OPSET = 13  # the first whose quantisation knows channels; older files are converted
NEW_OPSET = 17
FLOATS: dict[int, str] = {TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16"}
ALLOWED = "one input of pictures (float32 or float16, four dimensions) and one output of a number for each class"
LARGEST = 2**31 - 1  # bytes; protobuf's limit for one message


@dataclass(frozen=True)
class OwnFile:
    """An ONNX classifier as its author has left it.

    Attributes:
        path: The file.
        model: Its content, weights of other files included, opset at least `OLDEST_OPSET`.
        converted_from: Its own opset where it was older, else None.
        input: Name of its input.
        dtype: `float32` or `float16`, of the input.
        dims: Of the input; None = not fixed.
        output: Name of its output.
    """

    path: Path
    model: onnx.ModelProto
    converted_from: int | None
    input: str
    dtype: str
    dims: tuple[int | None, int | None, int | None, int | None]
    output: str


def read_own_file(path: Path) -> OwnFile:
    """Read and check an ONNX file.

    Raises:
        ExportError: It is missing, not ONNX, lacks its weights, or has more than a picture input and an output.
    """
    model = _load(path)
    pictures, answer = _only_input(path, model), _only_output(path, model)
    kind = pictures.type.tensor_type
    dims = tuple(dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim)
    if kind.elem_type not in FLOATS or len(dims) != 4:
        raise ExportError(
            f"onnx={path}: its input is {_described(pictures)}",
            hint=f"allowed: {ALLOWED}\nexport it again without the preprocessing in front of it",
        )
    if answer.type.tensor_type.elem_type not in FLOATS:
        raise ExportError(
            f"onnx={path}: its output is {_described(answer)}",
            hint=f"allowed: {ALLOWED}\nexport it again without ArgMax or TopK at its end",
        )
    model, converted_from = _modern(path, model)
    channels_and_more = (dims[0], dims[1], dims[2], dims[3])
    return OwnFile(path, model, converted_from, pictures.name, FLOATS[kind.elem_type], channels_and_more, answer.name)


def _load(path: Path) -> onnx.ModelProto:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise ExportError(f"onnx={path}: {what}", hint="name an ONNX file: onnx=model.onnx")
    if path.stat().st_size > LARGEST:
        raise ExportError(f"onnx={path}: larger than 2 GiB, more than one ONNX file can hold")
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise ExportError(f"onnx={path}: not an ONNX file ({_line(error)})") from error
    if not model.graph.node or not model.opset_import:
        raise ExportError(f"onnx={path}: not an ONNX file (no graph in it)")
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        hint = "put the file with the weights beside it, under the name that it had when both were written"
        raise ExportError(f"onnx={path}: its weights lie in another file: {_line(error)}", hint=hint) from error
    if model.ByteSize() > LARGEST:
        raise ExportError(f"onnx={path}: larger than 2 GiB with its weights, more than one ONNX file can hold")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ExportError(f"onnx={path}: the ONNX checker refuses it: {_line(error)}") from error
    return model


def _only_input(path: Path, model: onnx.ModelProto) -> ValueInfoProto:
    weights = {weight.name for weight in model.graph.initializer}  # old files list them as inputs too
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        found = ", ".join(_described(value) for value in inputs) or "none"
        raise ExportError(f"onnx={path}: it has {len(inputs)} inputs: {found}", hint=f"allowed: {ALLOWED}")
    found_input: ValueInfoProto = inputs[0]
    return found_input


def _only_output(path: Path, model: onnx.ModelProto) -> ValueInfoProto:
    outputs = list(model.graph.output)
    if len(outputs) != 1:
        found = ", ".join(_described(value) for value in outputs) or "none"
        raise ExportError(
            f"onnx={path}: it has {len(outputs)} outputs: {found}",
            hint=f"allowed: {ALLOWED}\nkeep one of them: onnx.utils.extract_model('{path.name}', 'one.onnx', "
            f"['{model.graph.input[0].name}'], ['{outputs[0].name if outputs else ''}'])",
        )
    found_output: ValueInfoProto = outputs[0]
    return found_output


def _modern(path: Path, model: onnx.ModelProto) -> tuple[onnx.ModelProto, int | None]:
    """The model at an opset that the quantiser knows, and its own one where it had to be converted."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset >= OLDEST_OPSET:
        return model, None
    try:
        return version_converter.convert_version(model, NEW_OPSET), opset
    except (RuntimeError, ValueError) as error:
        raise ExportError(
            f"onnx={path}: opset {opset} can't be converted to {NEW_OPSET}: {_line(error)}",
            hint=f"export it again with opset {OLDEST_OPSET} or later",
        ) from error


def _described(value: ValueInfoProto) -> str:
    """`images float32 [1, 3, 224, 224]`; what is not fixed by its name or as ?."""
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        return f"{value.name} (no tensor)"
    dims = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in kind.shape.dim)
    name = FLOATS.get(kind.elem_type, TensorProto.DataType.Name(kind.elem_type).lower())
    return f"{value.name} {name} [{dims}]"


def _line(error: Exception) -> str:
    """The first line of what an exception says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
