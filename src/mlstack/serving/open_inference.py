"""The Open Inference Protocol, version 2, as bytes: what Triton, KServe and their clients speak.

    https://github.com/kserve/open-inference-protocol
    https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md

A model takes `images`, either UINT8 [n, height, width, channel] of the model's own size, or BYTES [n], files such as
JPEG that the service decodes and resizes. It answers `probabilities` (a regression: `values`) and `features`. Of the
extensions binary tensors are understood; shared memory and Triton's `classification` are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from mlstack import __version__
from mlstack.bundle.metadata import Metadata, PictureInput
from mlstack.bundle.session import FEATURES, INPUT
from mlstack.serving.messages import Response
from mlstack.serving.open_inference_tensors import encoded_pictures, parameters_of, pixels, shown
from mlstack.serving.problems import CONTENT_TYPE, Problem, bad_request, too_large

JSON_LENGTH = "inference-header-content-length"
PLATFORM = "onnxruntime_onnx"
EXTENSIONS = ("binary_tensor_data",)


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """An output that the client asks for, as raw bytes behind the JSON or inside it."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request that was understood.

    Attributes:
        images: uint8 [n, height, width, channel], or files that are still to be decoded.
        id: The client's own name for it; None where it gave none.
        outputs: What is answered, in this order.
    """

    images: NDArray[np.uint8] | list[bytes]
    id: str | None
    outputs: tuple[WantedOutput, ...]


def json_length(headers: Mapping[str, str]) -> int | None:
    """Bytes of JSON at the beginning of the body, where raw tensors follow; None = the whole body is JSON.

    Raises:
        Problem: 400, the header is no number.
    """
    text = headers.get(JSON_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise bad_request(f"the header Inference-Header-Content-Length has to be a number of bytes, not {shown(text)}")
    return int(text)


def parse_infer(
    body: bytes, header_length: int | None, picture: PictureInput, *, output: str, max_images: int
) -> InferRequest:
    """Read the body of an `infer` request.

    Args:
        body: JSON, and behind it the raw tensors.
        header_length: See `json_length`.
        picture: What the model takes.
        output: Name of the model's first output.
        max_images: Most pictures of a request.

    Raises:
        Problem: 400, or 413 for too many pictures.
    """
    if header_length is not None and header_length > len(body):
        raise bad_request(f"Inference-Header-Content-Length is {header_length}, the body has {len(body)} bytes only")
    view = memoryview(body)
    request = _object(view[:header_length])
    name = request.get("id")
    if name is not None and not isinstance(name, str):
        raise bad_request(f"id has to be text, not {shown(name)}")
    tensor = _only_input(request.get("inputs"))
    tail = view[len(body) if header_length is None else header_length :]
    return InferRequest(
        images=_images(tensor, _data(tensor, tail), picture, max_images),
        id=name or None,
        outputs=_wanted(request, (output, FEATURES)),
    )


def answer_infer(
    request: InferRequest,
    *,
    model: str,
    version: str,
    request_id: str,
    answers: Mapping[str, NDArray[np.float32]],
) -> Response:
    """The answer to an `infer` request.

    Args:
        request: What was asked.
        model: Its name.
        version: Of the model.
        request_id: Stands as `id` where the client gave none.
        answers: Output → float32 [n, answer] and [n, feature].
    """
    outputs, raw = [], []
    for wanted in request.outputs:
        values = np.ascontiguousarray(answers[wanted.name], np.dtype("<f4"))
        part: dict[str, Any] = {"name": wanted.name, "datatype": "FP32", "shape": list(values.shape)}
        if wanted.binary:
            part["parameters"] = {"binary_data_size": values.nbytes}
            raw.append(values.data.cast("B") if values.size else b"")
        else:
            part["data"] = values.ravel()
        outputs.append(part)
    body = {"model_name": model, "model_version": version, "id": request.id or request_id, "outputs": outputs}
    text = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
    if not raw:
        return Response(200, text)
    headers = ((JSON_LENGTH, str(len(text))),)
    return Response(200, b"".join([text, *raw]), "application/octet-stream", headers)


def server_metadata() -> dict[str, Any]:
    """Of `GET /v2`."""
    return {"name": "mlstack", "version": __version__, "extensions": list(EXTENSIONS)}


def model_metadata(metadata: Metadata, *, name: str, versions: tuple[str, ...] = ()) -> dict[str, Any]:
    """Of `GET /v2/models/{name}`; -1 is any number of pictures."""
    picture = metadata.input
    return {
        "name": name,
        "versions": list(versions or (metadata.version,)),
        "platform": PLATFORM,
        "inputs": [
            {"name": INPUT, "datatype": "UINT8", "shape": [-1, picture.height, picture.width, picture.channels]}
        ],
        "outputs": [
            {"name": metadata.output, "datatype": "FP32", "shape": [-1, len(metadata.classes)]},
            {"name": FEATURES, "datatype": "FP32", "shape": [-1, metadata.features]},
        ],
    }


def live_body() -> dict[str, Any]:
    """Of `GET /v2/health/live`."""
    return {"live": True}


def ready_body(*, ready: bool, name: str | None = None) -> dict[str, Any]:
    """Of `GET /v2/health/ready`, or of a model's `/ready`; the status beside it is 200 or 503."""
    return {"ready": ready} if name is None else {"name": name, "ready": ready}


def v2_problem(problem: Problem, request_id: str) -> Response:
    """A problem that v2 clients understand too: they look for `error`, a text."""
    response = problem.response(request_id)
    body = orjson.loads(response.body)
    return Response(problem.status, orjson.dumps({**body, "error": problem.detail}), CONTENT_TYPE, response.headers)


def _object(text: memoryview) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the request is not JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(value, dict):
        raise bad_request(f'the request has to be an object such as {{"inputs": […]}}, not {shown(value)}')
    return value


def _only_input(inputs: Any) -> dict[str, Any]:
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise bad_request(f"inputs has to be a list of one object, the tensor {INPUT}, not {shown(inputs)}")
    tensor: dict[str, Any] = inputs[0]
    if tensor.get("name") != INPUT:
        raise bad_request(f"the model takes the input {INPUT}, not {shown(tensor.get('name'))}")
    return tensor


def _data(tensor: Mapping[str, Any], tail: memoryview) -> Any:
    """What an input holds: the raw bytes behind the JSON, or what stands in it."""
    parameters = parameters_of(tensor, INPUT)
    if "shared_memory_region" in parameters:
        raise bad_request("shared memory is not offered here; send the data as JSON or as binary data")
    size = parameters.get("binary_data_size")
    if size is None:
        if len(tail):
            raise bad_request(f"{len(tail):,} bytes follow the JSON, and {INPUT} has no parameter binary_data_size")
        return tensor.get("data")
    if "data" in tensor:
        raise bad_request(f"{INPUT} has both data and binary_data_size; send one of them")
    if type(size) is not int or size != len(tail):
        raise bad_request(f"binary_data_size is {shown(size)}, and {len(tail):,} bytes follow the JSON")
    return tail


def _images(
    tensor: Mapping[str, Any], data: Any, picture: PictureInput, max_images: int
) -> NDArray[np.uint8] | list[bytes]:
    shape, datatype = tensor.get("shape"), tensor.get("datatype")
    if not isinstance(shape, list) or not shape or any(type(size) is not int or size < 0 for size in shape):
        raise bad_request(f"{INPUT}: shape has to be a list of integers, not {shown(shape)}")
    own = [picture.height, picture.width, picture.channels]
    if datatype == "UINT8" and shape[1:] != own:
        raise bad_request(f"{INPUT} has the shape {shown(shape)}, expected {['n', *own]}".replace("'", ""))
    if datatype == "BYTES" and shape[1:] not in ([], [1]):
        raise bad_request(f"{INPUT} of the type BYTES has the shape {shown(shape)}, expected [n]")
    if datatype not in ("UINT8", "BYTES"):
        raise bad_request(
            f"{INPUT} has the datatype {shown(datatype)}, expected UINT8, or BYTES for JPEG and PNG files"
        )
    if shape[0] < 1:
        raise bad_request(f"{INPUT} holds no picture: its shape is {shown(shape)}")
    if shape[0] > max_images:
        raise too_large(f"{shape[0]} pictures in one request, at most {max_images} are taken; send several requests")
    return pixels(data, shape) if datatype == "UINT8" else encoded_pictures(data, shape[0])


def _wanted(request: Mapping[str, Any], names: tuple[str, ...]) -> tuple[WantedOutput, ...]:
    """The outputs that are asked for; all of them where the request names none."""
    binary = _flag(parameters_of(request, "the request"), "binary_data_output", default=False)
    listed = request.get("outputs")
    if not listed and (listed is None or isinstance(listed, list)):
        return tuple(WantedOutput(name, binary) for name in names)
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise bad_request(f"outputs has to be a list of objects, not {shown(listed)}")
    wanted = []
    for one in listed:
        name = one.get("name")
        if name not in names:
            raise bad_request(f"the model answers {' and '.join(names)}, not {shown(name)}")
        parameters = parameters_of(one, name)
        for refused in ("classification", "shared_memory_region"):
            if refused in parameters:
                raise bad_request(f"the output parameter {refused} is not offered here; leave it out")
        wanted.append(WantedOutput(name, _flag(parameters, "binary_data", default=binary)))
    if len({one.name for one in wanted}) < len(wanted):
        raise bad_request("outputs names one output twice")
    return tuple(wanted)


def _flag(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise bad_request(f"{name} has to be true or false, not {shown(value)}")
    return value
