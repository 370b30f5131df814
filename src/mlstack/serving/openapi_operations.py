"""One operation of the service's description, and what operations have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from mlstack.bundle.metadata import Metadata
from mlstack.errors import BundleError
from mlstack.serving.openapi_schemas import SHORT_VALUES, TEXT, Json, ref, sample

ALWAYS = (400, 408, 414, 417, 431, 500, 503)
KEYS: list[Json] = [{"bearer": []}, {"apiKey": []}]  # either of them


class Bundled(Protocol):
    """A bundle's place."""

    @property
    def path(self) -> Path: ...


class Described(Protocol):
    """What is looked at of a served model."""

    @property
    def metadata(self) -> Metadata: ...

    @property
    def bundle(self) -> Bundled: ...


def operation(
    tag: str,
    name: str,
    summary: str,
    answer: Json,
    *,
    refusals: Iterable[int] = (),
    parameters: Iterable[Json] = (),
    body: Json | None = None,
    problems: str = "Problem",
    curl: Iterable[str] = (),
    is_open: bool = False,
    tells_more: bool = False,
) -> Json:
    """One operation; `answer` is the content of its status 200, which of an open one may tell more where a key is."""
    statuses = sorted({*ALWAYS, *refusals, *(() if is_open else (429,))})
    told: Json = {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": "The answer.", "content": answer}}
        | {str(status): ref(f"{problems}{status}", "responses") for status in statuses},
    }
    if listed := list(parameters):
        told["parameters"] = listed
    if body is not None:
        told["requestBody"] = {"required": True, "content": body}
    if commands := list(curl):
        told["x-curl"] = commands
    if is_open:
        told["security"] = [{}, *KEYS] if tells_more else []
    return told


def finish(operation: Json, *, keys: bool) -> None:
    """Say of an operation that it needs a key, where keys are needed."""
    if keys and "security" not in operation:
        refused = operation["responses"]["400"]["$ref"].removesuffix("400") + "401"
        operation["responses"]["401"] = {"$ref": refused}
        operation["security"] = KEYS
    elif not keys:
        operation.pop("security", None)


def json_content(schema: Json, **more: Any) -> Json:
    return {"application/json": {"schema": schema, **more}}


def parameter(where: str, name: str, schema: Json, description: str) -> Json:
    return {"in": where, "name": name, "schema": schema, "description": description, "required": where == "path"}


def model_name(models: Mapping[str, Described]) -> Json:
    schema = {**TEXT, **({"enum": sorted(models)} if models else {})}
    return parameter("path", "name", schema, "Of the model; GET /models lists them.")


def examples_of(models: Mapping[str, Described]) -> Json:
    """A file and, of small pictures, rows."""
    examples: Json = {}
    for model in list(models.values())[:1]:
        picture = model.metadata.input
        with contextlib.suppress(BundleError):  # it went away since it was loaded
            file = sample(model.bundle.path, model.metadata)
            examples["file"] = {"summary": "A file as base64", "value": {"images": [file]}}
        if picture.height * picture.width * picture.channels <= SHORT_VALUES:
            black = [[[0] * picture.channels] * picture.width] * picture.height
            examples["rows"] = {"summary": "Rows of pixels", "value": {"inputs": [black]}}
    return {"examples": examples} if examples else {}
