"""The shapes that the service's description speaks of: bodies, answers, problems, and examples of the served models."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from PIL import Image

from mlstack.bundle.metadata import Metadata, PictureInput
from mlstack.bundle.reference import REFERENCE, read_reference
from mlstack.bundle.session import FEATURES, INPUT

Json = dict[str, Any]

PROBLEM = "application/problem+json"
PICTURES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/gif")
EXACT_VALUES = 64  # of a picture; above it no tool should have to make up whole rows to try the description
SHORT_VALUES = 256  # of a picture; above it an example of rows would fill the screen
SHOWN_SIDE = 64  # in pixels, of an example; the service resizes

TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
COUNT: Json = {"type": "integer", "minimum": 0}
BINARY: Json = {"type": "string", "format": "binary"}
SHARE: Json = {"type": "number", "minimum": 0, "maximum": 1}

STATUSES = {
    400: "The request is wrong; `detail` says what was given, what is allowed and what to do.",
    401: "No API key, or one that is not known.",
    403: "Only an administrator's key may do this.",
    404: "No such model, or nothing at this address.",
    405: "The address does not take this method; `allow` lists those it takes.",
    408: "The request came too slowly.",
    413: "Too many bytes, images or pixels.",
    414: "The address is too long.",
    415: "A content type, or a kind of picture, that is not taken.",
    417: "Of the header `expect`, only `100-continue` is known.",
    429: "The queue is full, or this client asks too often: wait as long as `retry-after` says.",
    431: "Too many headers, or too long ones.",
    500: "The model or the service failed; the log says why.",
    503: "Not ready, ending, or the deadline passed while the request waited.",
}


def ref(name: str, kind: str = "schemas") -> Json:
    """A reference to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


def record(properties: Json, *, required: Iterable[str] | None = None, closed: bool = False, **more: Any) -> Json:
    """The schema of an object; everything in it is required unless `required` lists less."""
    needed = list(properties if required is None else required)
    extra = {"additionalProperties": False} if closed else {}
    return {"type": "object", "properties": properties, **({"required": needed} if needed else {}), **extra, **more}


def items(schema: Json, **more: Any) -> Json:
    """The schema of a list."""
    return {"type": "array", "items": schema, **more}


def maybe(schema: Json) -> Json:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def components(models: list[Metadata], *, keys: bool) -> Json:
    """Everything that the paths refer to."""
    problem = record({"type": TEXT, "title": TEXT, "status": COUNT, "detail": TEXT, "request_id": TEXT})
    told: Json = {
        "schemas": {
            "Problem": problem,
            "InferProblem": {**problem, "properties": {**problem["properties"], "error": TEXT}},
            "Pictures": _pictures_body({one.input for one in models}),
            "Answer": _answer(sorted({one.task for one in models})),
            "Model": _model(),
            "InferRequest": _infer_request(sorted({one.output for one in models})),
            "InferAnswer": _infer_answer(),
            "Feedback": _feedback(),
        },
        "responses": {f"Problem{status}": _problem(status, "Problem") for status in STATUSES}
        | {f"InferProblem{status}": _problem(status, "InferProblem") for status in STATUSES},
    }
    if keys:
        told["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer", "description": "authorization: Bearer KEY"},
            "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        }
    return told


def _problem(status: int, schema: str) -> Json:
    response: Json = {
        "description": f"{HTTPStatus(status).phrase}. {STATUSES[status]}",
        "content": {PROBLEM: {"schema": ref(schema)}},
    }
    if status in (429, 503):
        response["headers"] = {"retry-after": {"description": "Seconds to wait.", "schema": COUNT}}
    return response


def _pictures_body(pictures: set[PictureInput]) -> Json:
    """`{"inputs": …}` or `{"images": …}`."""
    one: Json = {"type": "integer", "minimum": 0, "maximum": 255}
    shapes = {(picture.height, picture.width, picture.channels) for picture in pictures}
    exact = len(shapes) == 1 and all(high * wide * deep <= EXACT_VALUES for high, wide, deep in shapes)
    for axis in (2, 1, 0):
        most = max((shape[axis] for shape in shapes), default=1)
        one = items(one, maxItems=most, **({"minItems": most} if exact else {}))
    rows = "Pictures of the model's own size: [height][width][channel], whole numbers from 0 to 255."
    files = "JPEG, PNG, WebP, BMP or GIF files as base64, of any size: the service resizes them."
    encoded = {"type": "string", "contentEncoding": "base64", "minLength": 4}
    return {
        "oneOf": [
            record({"inputs": items(one, minItems=1, description=rows)}, closed=True, title="Rows"),
            record({"images": items(encoded, minItems=1, description=files)}, closed=True, title="Files"),
        ]
    }


def _answer(tasks: list[str]) -> Json:
    named: Json = {"type": "object", "additionalProperties": maybe(NUMBER)}
    of_task = {
        "classification": record(
            {"class": TEXT, "index": COUNT, "confidence": SHARE, "probabilities": named}, title="Class"
        ),
        "multilabel": record({"labels": items(TEXT), "probabilities": named}, title="Labels"),
        "regression": record({"values": named}, title="Values"),
    }
    spent = {name: {**NUMBER, "minimum": 0} for name in ("queue", "decode", "model", "total")}
    return record(
        {
            "predictions": items({"anyOf": [of_task[task] for task in tasks or of_task]}, minItems=1),
            "model": TEXT,
            "version": TEXT,
            "request_id": {**TEXT, "description": "What /feedback asks for."},
            "timestamp": {**TEXT, "format": "date-time"},
            "timing_ms": record(spent),
        }
    )


def _model() -> Json:
    whole = {"type": "integer", "minimum": 1}
    picture = record({"height": whole, "width": whole, "channels": {"enum": [1, 3]}, "resize": TEXT})
    facts = {
        "name": {**TEXT, "description": "In addresses: /v1/models/{name}/predict."},
        "version": TEXT,
        "task": {"enum": ["classification", "multilabel", "regression"]},
        "precision": TEXT,
        "input": picture,
        "classes": items(TEXT),
    }
    return record(facts)


def _infer_request(outputs: list[str]) -> Json:
    """Fields that are not listed are passed over, as the protocol wants."""
    parameters = maybe({"type": "object"})
    pictures = record(
        {
            "name": {"const": INPUT},
            "shape": items(COUNT, minItems=1, maxItems=4),
            "datatype": {"enum": ["UINT8", "BYTES"], "description": "BYTES: files, in JSON as base64."},
            "data": {"type": "array", "description": "Flat, or nested as `shape` says."},
            "parameters": {**parameters, "description": "`binary_data_size` of data behind the JSON."},
        },
        required=("name", "shape", "datatype"),
    )
    wanted = record({"name": {"enum": [*outputs, FEATURES]}, "parameters": parameters}, required=("name",))
    return record(
        {
            "id": maybe(TEXT),
            "inputs": items(pictures, minItems=1, maxItems=1),
            "outputs": maybe(items(wanted)),
            "parameters": {**parameters, "description": "`binary_data_output`: true = answer raw bytes."},
        },
        required=("inputs",),
    )


def _infer_answer() -> Json:
    tensor = record(
        {
            "name": TEXT,
            "datatype": {"const": "FP32"},
            "shape": items(COUNT),
            "data": items(maybe(NUMBER)),
            "parameters": {"type": "object"},
        },
        required=("name", "datatype", "shape"),
    )
    return record({"model_name": TEXT, "model_version": TEXT, "id": TEXT, "outputs": items(tensor)})


def _feedback() -> Json:
    label = {"type": ["string", "number", "null"], "description": "A class; of a regression a number; null = unknown."}
    name = {**TEXT, "description": "Of the answer."}
    return {
        "anyOf": [
            record({"request_id": name, "label": label}, title="Of one picture"),
            record({"request_id": name, "labels": items(label, minItems=1)}, title="Of several pictures"),
        ]
    }


def sample(folder: Path, metadata: Metadata) -> str:
    """A picture to try, as base64: the bundle's first golden one as PNG, or of a large one a small copy as JPEG.

    Raises:
        BundleError: The bundle's reference can't be read.
    """
    pixels = read_reference(folder / REFERENCE, metadata).golden_images[0]
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    file = io.BytesIO()
    if max(image.size) <= SHOWN_SIDE:
        image.save(file, "PNG")
    else:
        image.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
        image.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
