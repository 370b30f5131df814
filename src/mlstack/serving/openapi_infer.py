"""The Open Inference Protocol's part of the service's description."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from mlstack.bundle.session import INPUT
from mlstack.serving.open_inference import JSON_LENGTH
from mlstack.serving.openapi_operations import Described, examples_of, json_content, model_name, operation, parameter
from mlstack.serving.openapi_schemas import BINARY, COUNT, TEXT, Json, items, record, ref

OBJECT: Json = {"type": "object"}


def open_inference_paths(models: Mapping[str, Described]) -> Json:
    ask = partial(operation, "Open Inference Protocol", problems="InferProblem")
    described = _infer_content(models)
    answer = {**json_content(ref("InferAnswer")), "application/octet-stream": {"schema": BINARY}}
    length = parameter("header", JSON_LENGTH, COUNT, "Bytes of JSON before the raw tensors.")
    versions = sorted({model.metadata.version for model in models.values()})
    version = parameter("path", "version", {**TEXT, **({"enum": versions} if versions else {})}, "Of the model.")
    server = json_content(record({"name": TEXT, "version": TEXT, "extensions": items(TEXT)}))
    model = json_content(
        record(
            {"name": TEXT, "versions": items(TEXT), "platform": TEXT, "inputs": items(OBJECT), "outputs": items(OBJECT)}
        )
    )
    live, ready = record({"live": {"const": True}}), record({"ready": {"type": "boolean"}})
    model_ready = json_content(record({"name": TEXT, "ready": {"type": "boolean"}}))
    told: Json = {
        "/v2": {"get": ask("serverMetadata", "About the server", server)},
        "/v2/health/live": {"get": ask("serverLive", "Whether it lives", json_content(live), is_open=True)},
        "/v2/health/ready": {"get": ask("serverReady", "Whether it is ready", json_content(ready), is_open=True)},
    }
    for path, suffix, more in (("{name}", "", []), ("{name}/versions/{version}", "Version", [version])):
        names, base = [model_name(models), *more], f"/v2/models/{path}"
        told[base] = {
            "get": ask(f"modelMetadata{suffix}", "Inputs and outputs", model, parameters=names, refusals=(404,))
        }
        told[f"{base}/ready"] = {
            "get": ask(f"modelReady{suffix}", "Whether it answers", model_ready, parameters=names, refusals=(404,))
        }
        told[f"{base}/infer"] = {
            "post": ask(
                f"infer{suffix}", "Ask about tensors, in JSON or as raw bytes behind it", answer,
                parameters=[*names, length], body=described, refusals=(404, 413),
            )
        }  # fmt: skip
    return told


def _infer_content(models: Mapping[str, Described]) -> Json:
    examples = {}
    for one in examples_of(models).get("examples", {}).values():
        for files in one["value"].get("images", []):
            tensor = {"name": INPUT, "datatype": "BYTES", "shape": [1], "data": [files]}
            examples["file"] = {"summary": "A file as base64", "value": {"inputs": [tensor]}}
    content = json_content(ref("InferRequest"), **({"examples": examples} if examples else {}))
    return {**content, "application/octet-stream": {"schema": BINARY}}
