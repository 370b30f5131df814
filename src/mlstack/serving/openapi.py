"""The service in the words of OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1): what /openapi.json says.

Examples fit the served models and can be sent as they stand. `x-curl` are commands; `{url}` in them is the service's
address.
"""

from __future__ import annotations

from collections.abc import Mapping

from mlstack import __version__
from mlstack.serving.openapi_infer import open_inference_paths
from mlstack.serving.openapi_operations import (
    Described,
    examples_of,
    finish,
    json_content,
    model_name,
    operation,
    parameter,
)
from mlstack.serving.openapi_schemas import (
    BINARY,
    COUNT,
    NUMBER,
    PICTURES,
    TEXT,
    Json,
    components,
    items,
    maybe,
    record,
    ref,
)

DESCRIPTION = "Ask trained models about pictures. Every mistake is answered with a problem body of RFC 9457."
TAGS = {
    "Prediction": "Pictures in, classes, labels or values out.",
    "Open Inference Protocol": "Version 2, as Triton and KServe speak it.",
    "Models": "What is served.",
    "Health": "For load balancers and orchestrators.",
    "Monitoring": "Traffic, experiments, drift and alerts.",
    "Administration": "For administrators' keys.",
}
OBJECT: Json = {"type": "object"}


def describe(models: Mapping[str, Described], *, keys: bool = False) -> Json:
    """The description of a service.

    Args:
        models: Served ones by their names.
        keys: Whether clients need an API key.
    """
    metadata = [model.metadata for model in models.values()]
    paths = {
        **_prediction_paths(models),
        **open_inference_paths(models),
        **_model_paths(),
        **_health_paths(keys=keys),
        **_monitoring_paths(),
        **_administration_paths(),
    }
    for operations in paths.values():
        for one in operations.values():
            finish(one, keys=keys)
    return {
        "openapi": "3.1.0",
        "info": {"title": "mlstack", "version": __version__, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": components(metadata, keys=keys),
    }


def _prediction_paths(models: Mapping[str, Described]) -> Json:
    top_k = {"type": "integer", "minimum": 1, "maximum": 999_999, "default": 5}
    parameters = [
        parameter("query", "top_k", top_k, "Classes or labels listed of each picture, most probable first."),
        parameter("header", "x-request-id", TEXT, "Comes back as `request_id`; letters, digits and . _ - only."),
        parameter("header", "x-deadline-ms", {**NUMBER, "exclusiveMinimum": 0}, "Milliseconds the client will wait."),
    ]
    experiment = [
        parameter("header", "x-user-id", TEXT, "An experiment gives the same user the same model."),
        parameter("header", "x-variant", TEXT, "Ask this arm of an experiment."),
    ]
    body = _pictures_content(models)
    answer = json_content(ref("Answer"))
    refusals = (404, 413, 415)
    told = {
        path: {
            "post": operation(
                "Prediction", name, summary, answer,
                parameters=[*parameters, *experiment], body=body, refusals=refusals,
                curl=[f"curl -F file=@cat.jpg '{{url}}{path}?top_k=3'"],
            )
        }
        for path, name, summary in (
            ("/predict", "predict", "Ask the default model, or the experiment"),
            ("/predict_image", "predictImage", "The same as /predict"),
        )
    }  # fmt: skip
    name = next(iter(models), "MODEL")
    told["/v1/models/{name}/predict"] = {
        "post": operation(
            "Prediction", "predictWithModel", "Ask one of the models", answer,
            parameters=[model_name(models), *parameters], body=body, refusals=refusals,
            curl=[f"curl -F file=@cat.jpg {{url}}/v1/models/{name}/predict"],
        )
    }  # fmt: skip
    label = json_content(
        record({"request_id": TEXT, "model": TEXT, "right": COUNT, "wrong": COUNT, "journaled": {"type": "boolean"}})
    )
    command = """curl -H 'content-type: application/json' -d '{"request_id": "…", "label": "cat"}' {url}/feedback"""
    told["/feedback"] = {
        "post": operation(
            "Prediction", "feedback", "Tell what was right, by the request id of an answer", label,
            body=json_content(ref("Feedback")), refusals=(404, 413), curl=[command],
        )
    }  # fmt: skip
    return told


def _pictures_content(models: Mapping[str, Described]) -> Json:
    """Every content type that pictures come in, with examples that the first model answers."""
    file = {"file": items(BINARY, minItems=1, description="JPEG, PNG, WebP, BMP or GIF; also several of them.")}
    return {
        **json_content(ref("Pictures"), **examples_of(models)),
        "multipart/form-data": {"schema": record(file)},
        "application/octet-stream": {"schema": {**BINARY, "description": "uint8 [n, height, width, channel]"}},
        "application/x-npy": {"schema": {**BINARY, "description": "NumPy's file of the same"}},
        **{kind: {"schema": BINARY} for kind in PICTURES},
    }


def _model_paths() -> Json:
    tag = "Models"
    pictures = record({"examples": items(record({"url": TEXT, "label": TEXT}))})
    name = parameter("path", "file", {**TEXT, "examples": ["0.png"]}, "GET /examples lists them.")
    return {
        "/metadata": {"get": operation(tag, "metadata", "About the default model", json_content(ref("Model")))},
        "/models": {
            "get": operation(tag, "models", "About all models", json_content(record({"models": items(ref("Model"))})))
        },
        "/examples": {"get": operation(tag, "examples", "Pictures to try", json_content(pictures))},
        "/examples/{file}": {
            "get": operation(
                tag, "example", "One of them", {"image/png": {"schema": BINARY}}, parameters=[name], refusals=(404,)
            )
        },
    }


def _health_paths(*, keys: bool) -> Json:
    models = items(TEXT, **({"description": "Told to clients with a key."} if keys else {}))
    ready = record({"status": TEXT, "models": models}, required=["status"] if keys else None)
    health = record({"status": TEXT, "version": TEXT})
    return {
        "/health": {
            "get": operation("Health", "health", "Whether the process lives", json_content(health), is_open=True)
        },
        "/ready": {
            "get": operation(
                "Health", "ready", "Whether requests are taken", json_content(ready), is_open=True, tells_more=True
            )
        },
    }


def _monitoring_paths() -> Json:
    tag = "Monitoring"
    status = {
        "models": items(ref("Model")),
        "default": maybe(TEXT),
        "traffic": OBJECT,
        "memory_mb": NUMBER,
        "uptime_s": NUMBER,
        "drift": OBJECT,
        "alerts": items(OBJECT),
        "experiment": maybe(OBJECT),
    }
    experiments = record({"experiment": maybe(OBJECT)})
    text = {"text/plain": {"schema": TEXT}}
    return {
        "/status": {"get": operation(tag, "status", "What the page at / shows", json_content(record(status)))},
        "/metrics": {"get": operation(tag, "metrics", "For Prometheus", text, curl=["curl {url}/metrics"])},
        "/experiments": {"get": operation(tag, "experiments", "The experiment, arm by arm", json_content(experiments))},
        "/drift": {
            "get": operation(
                tag, "drift", "The newest comparison of each model", json_content(record({"models": OBJECT}))
            )
        },
        "/alerts": {
            "get": operation(tag, "alerts", "What is raised now", json_content(record({"alerts": items(OBJECT)})))
        },
    }


def _administration_paths() -> Json:
    tag = "Administration"
    action = {
        "oneOf": [
            record({"action": {"enum": ["promote", "rollback"]}}, title="By rule"),
            record(
                {"action": {"const": "share"}, "percent": {**NUMBER, "minimum": 0, "maximum": 100}}, title="By share"
            ),
        ]
    }
    reloaded = record({"models": items(OBJECT)})
    command = """curl -H 'authorization: Bearer KEY' -d '{"action": "share", "percent": 25}' {url}/admin/canary"""
    return {
        "/admin/reload": {
            "post": operation(
                tag, "reload", "Look for new bundles now", json_content(reloaded),
                refusals=(403, 413), curl=["curl -X POST -H 'authorization: Bearer KEY' {url}/admin/reload"],
            )
        },
        "/admin/canary": {
            "post": operation(
                tag, "canary", "Promote the canary, roll it back, or set its share", json_content(OBJECT),
                body=json_content(action), refusals=(403, 404, 413), curl=[command],
            )
        },
    }  # fmt: skip
