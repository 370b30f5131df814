"""The description of the service: whole, valid where it refers to itself, and with examples that the models take."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundles import make_bundle

from mlstack.bundle.folder import Bundle
from mlstack.bundle.metadata import Metadata
from mlstack.bundle.session import Session
from mlstack.serving.inputs import InputLimits, read_inputs
from mlstack.serving.open_inference import parse_infer
from mlstack.serving.openapi import TAGS, describe
from mlstack.serving.problems import CONTENT_TYPE

ROUTES = """
POST /predict /predict_image /v1/models/{name}/predict /feedback /admin/reload /admin/canary
POST /v2/models/{name}/infer /v2/models/{name}/versions/{version}/infer
GET /health /ready /metadata /models /metrics /status /experiments /drift /alerts /examples /examples/{file}
GET /v2 /v2/health/live /v2/health/ready /v2/models/{name} /v2/models/{name}/ready
GET /v2/models/{name}/versions/{version} /v2/models/{name}/versions/{version}/ready
"""
LIMITS = InputLimits(max_images=8, max_pixels=10**6)


@dataclass
class Served:
    bundle: Bundle
    metadata: Metadata


def served(folder: Path, **settings: Any) -> Served:
    bundle = make_bundle(folder, **settings)
    return Served(bundle, bundle.metadata)


@pytest.fixture
def digits(tmp_path: Path) -> Served:
    return served(tmp_path / "digits")


def everything(value: Any) -> Iterator[dict[str, Any]]:
    """Each object inside."""
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from everything(one)


def operations(told: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_address_is_described_once(digits: Served) -> None:
    told = describe({"digits": digits})
    words = [line.split() for line in ROUTES.strip().splitlines()]
    assert {name for name, _ in operations(told)} == {f"{method} {path}" for method, *paths in words for path in paths}
    names = [operation["operationId"] for _, operation in operations(told)]
    assert len(set(names)) == len(names)
    assert {tag for _, operation in operations(told) for tag in operation["tags"]} == set(TAGS)


@pytest.mark.parametrize("keys", [False, True])
def test_every_reference_leads_somewhere_and_every_name_in_a_path_is_a_parameter(digits: Served, keys: bool) -> None:
    told = json.loads(json.dumps(describe({"digits": digits}, keys=keys)))
    for one in everything(told):
        if "$ref" in one:
            place = told
            for part in one["$ref"].removeprefix("#/").split("/"):
                place = place[part]
    for name, operation in operations(told):
        given = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert given == set(re.findall(r"\{(\w+)\}", name)), name


def test_keys_are_asked_for_where_they_are_needed(digits: Served) -> None:
    told = dict(operations(describe({"digits": digits}, keys=True)))
    assert told["POST /predict"]["security"] == [{"bearer": []}, {"apiKey": []}]
    assert "401" in told["GET /v2"]["responses"]
    assert told["GET /health"]["security"] == []
    assert told["GET /ready"]["security"] == [{}, {"bearer": []}, {"apiKey": []}]
    for _, operation in operations(describe({"digits": digits})):
        assert "security" not in operation
        assert "401" not in operation["responses"]


@pytest.mark.parametrize("keys", [False, True])
def test_the_models_names_are_promised_by_ready_unless_they_need_a_key(digits: Served, keys: bool) -> None:
    answer = dict(operations(describe({"digits": digits}, keys=keys)))["GET /ready"]["responses"]["200"]
    schema = answer["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"status", "models"}
    assert set(schema["required"]) == ({"status"} if keys else {"status", "models"})


def test_refusals_are_problems_that_say_when_to_come_back(digits: Served) -> None:
    told = describe({"digits": digits})
    responses = told["components"]["responses"]
    assert all(list(one["content"]) == [CONTENT_TYPE] for one in responses.values())
    assert "retry-after" in responses["Problem429"]["headers"]
    for name, operation in operations(told):
        wanted = {"400", "408", "503"} | ({"404", "413", "429"} if "predict" in name or "infer" in name else set())
        assert wanted <= set(operation["responses"]), name


@pytest.mark.parametrize(
    "settings",
    [{"size": 8}, {"size": 8, "channels": 3, "task": "multilabel"}, {"size": 100, "channels": 3, "task": "regression"}],
    ids=["grey", "colour", "large"],
)
def test_the_examples_are_answered_by_the_model(tmp_path: Path, settings: dict[str, Any]) -> None:
    model = served(tmp_path / "model", **settings)
    told = dict(operations(describe({"model": model})))
    picture = model.metadata.input
    content = told["POST /predict"]["requestBody"]["content"]["application/json"]["examples"]
    assert ("rows" in content) == (picture.height == 8)
    for example in content.values():
        body = json.dumps(example["value"]).encode()
        assert len(body) < 10_000
        images = read_inputs("application/json", body, picture, LIMITS)
        if isinstance(images, np.ndarray):
            assert len(Session(model.bundle.model()).run(images).output) == 1
        else:
            assert images[0].startswith((b"\x89PNG", b"\xff\xd8"))
    for example in told["POST /v2/models/{name}/infer"]["requestBody"]["content"]["application/json"][
        "examples"
    ].values():
        body = json.dumps(example["value"]).encode()
        assert parse_infer(body, None, picture, output=model.metadata.output, max_images=8).images


def test_several_models_of_other_kinds_and_none_at_all_are_described(tmp_path: Path) -> None:
    models = {task: served(tmp_path / task, task=task) for task in ("classification", "regression")}
    told = describe(models)
    kinds = told["components"]["schemas"]["Answer"]["properties"]["predictions"]["items"]["anyOf"]
    assert [kind["title"] for kind in kinds] == ["Class", "Values"]
    parameters = told["paths"]["/v1/models/{name}/predict"]["post"]["parameters"]
    assert parameters[0]["schema"]["enum"] == ["classification", "regression"]
    assert "enum" not in json.dumps(describe({})["paths"]["/v1/models/{name}/predict"])


def test_commands_speak_of_addresses_that_exist(digits: Served) -> None:
    told = describe({"digits": digits})
    commands = {name: command for name, one in operations(told) for command in one.get("x-curl", [])}
    assert len(commands) >= 6
    for name, command in commands.items():
        path = name.split()[1].replace("{name}", "digits")
        assert f"{{url}}{path}" in command, command
