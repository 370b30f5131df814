"""The open inference protocol's bodies, written out byte by byte as its clients send them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundles import make_bundle

from mlstack.bundle.metadata import PictureInput
from mlstack.bundle.session import Session
from mlstack.serving.messages import Response
from mlstack.serving.open_inference import (
    InferRequest,
    WantedOutput,
    answer_infer,
    json_length,
    live_body,
    model_metadata,
    parse_infer,
    ready_body,
    server_metadata,
    v2_problem,
)
from mlstack.serving.problems import Problem, bad_request

PICTURE = PictureInput(height=2, width=3, channels=1, resize="crop", decoded_size=3)
IMAGES = np.arange(12, dtype=np.uint8).reshape(2, 2, 3, 1)
PICTURES = [b"\xff\xd8 one", b"", b"\x89PNG three"]


def tensor(**changes: Any) -> dict[str, Any]:
    whole = {"name": "images", "datatype": "UINT8", "shape": [2, 2, 3, 1], "data": IMAGES.tolist(), **changes}
    return {name: value for name, value in whole.items() if value is not None}


def parse(request: Any, tail: bytes = b"", length: int | None = None) -> InferRequest:
    text = request if isinstance(request, bytes) else json.dumps(request).encode()
    if tail and length is None:
        length = len(text)
    return parse_infer(text + tail, length, PICTURE, output="probabilities", max_images=4)


def refused(request: Any, tail: bytes = b"", length: int | None = None) -> Problem:
    with pytest.raises(Problem) as caught:
        parse(request, tail, length)
    assert "\n" not in caught.value.detail
    return caught.value


@pytest.mark.parametrize("data", [IMAGES.tolist(), IMAGES.ravel().tolist()], ids=["nested", "flat"])
def test_numbers_in_json_become_pictures(data: list[Any]) -> None:
    request = parse({"id": "mine", "inputs": [tensor(data=data)]})
    assert request.id == "mine"
    assert isinstance(request.images, np.ndarray)
    assert request.images.dtype == np.uint8
    np.testing.assert_array_equal(request.images, IMAGES)


def test_raw_bytes_become_pictures_without_a_copy() -> None:
    head = json.dumps({"inputs": [tensor(data=None, parameters={"binary_data_size": 12})]}).encode()
    body = head + IMAGES.tobytes()
    request = parse_infer(body, len(head), PICTURE, output="probabilities", max_images=4)
    np.testing.assert_array_equal(request.images, IMAGES)
    assert isinstance(request.images, np.ndarray)
    assert np.shares_memory(request.images, np.frombuffer(body, np.uint8))


def test_files_come_as_base64_or_behind_their_lengths() -> None:
    texts = [base64.b64encode(one).decode() for one in PICTURES]
    files = {"datatype": "BYTES", "shape": [3]}
    assert parse({"inputs": [tensor(**files, data=texts)]}).images == PICTURES
    assert parse({"inputs": [tensor(datatype="BYTES", shape=[3, 1], data=[[one] for one in texts])]}).images == PICTURES
    raw = b"".join(len(one).to_bytes(4, "little") + one for one in PICTURES)
    request = {"inputs": [tensor(**files, data=None, parameters={"binary_data_size": len(raw)})]}
    assert parse(request, raw).images == PICTURES


def test_outputs_are_all_or_those_that_are_named() -> None:
    everything = parse({"inputs": [tensor()]})
    assert everything.outputs == (WantedOutput("probabilities", False), WantedOutput("features", False))
    binary = parse({"inputs": [tensor()], "parameters": {"binary_data_output": True}})
    assert all(one.binary for one in binary.outputs)
    named = [{"name": "features", "parameters": {"binary_data": True}}, {"name": "probabilities"}]
    mixed = parse({"inputs": [tensor()], "outputs": named})
    assert mixed.outputs == (WantedOutput("features", True), WantedOutput("probabilities", False))


NESTED_WRONG = [[[[1], [2], [3]], [[1], [2]]], [[[1], [2], [3]], [[1], [2], [3]]]]
MISTAKES: dict[str, tuple[Any, str]] = {
    "not json": (b"{", "is not JSON"),
    "a NaN": (b'{"inputs": [{"data": [NaN]}]}', "is not JSON"),
    "no object": ([1], "has to be an object"),
    "no inputs": ({}, "inputs has to be"),
    "two inputs": ({"inputs": [tensor(), tensor()]}, "a list of one object"),
    "another input": ({"inputs": [tensor(name="x")]}, 'takes the input images, not "x"'),
    "an id that is a number": ({"id": 1, "inputs": [tensor()]}, "id has to be text"),
    "another type": ({"inputs": [tensor(datatype="FP32")]}, "expected UINT8"),
    "another shape": ({"inputs": [tensor(shape=[2, 3, 2, 1])]}, "expected [n, 2, 3, 1]"),
    "no picture": ({"inputs": [tensor(shape=[0, 2, 3, 1], data=[])]}, "holds no picture"),
    "a shape of floats": ({"inputs": [tensor(shape=[2.0, 2, 3, 1])]}, "a list of integers"),
    "a shape below zero": ({"inputs": [tensor(shape=[-1, 2, 3, 1])]}, "a list of integers"),
    "too few values": ({"inputs": [tensor(data=[1, 2])]}, "holds 2 values, expected 12"),
    "a float": ({"inputs": [tensor(data=[1.5] * 12)]}, "holds 1.5, expected integers"),
    "a number above 255": ({"inputs": [tensor(data=[256] * 12)]}, "holds 256"),
    "a huge number": ({"inputs": [tensor(data=[10**40] * 12)]}, "expected integers from 0 to 255"),
    "a text": ({"inputs": [tensor(data="abc")]}, "a list of integers"),
    "no data": ({"inputs": [tensor(data=None)]}, "a list of integers"),
    "uneven nesting": ({"inputs": [tensor(data=NESTED_WRONG)]}, "not nested as its shape"),
    "no base64": ({"inputs": [tensor(datatype="BYTES", shape=[1], data=["%%"])]}, "base64"),
    "numbers for base64": ({"inputs": [tensor(datatype="BYTES", shape=[1], data=[1])]}, "base64"),
    "another count": ({"inputs": [tensor(datatype="BYTES", shape=[2], data=["AA=="])]}, "its shape says 2"),
    "an unknown output": ({"inputs": [tensor()], "outputs": [{"name": "logits"}]}, "not \"logits\""),
    "an output twice": ({"inputs": [tensor()], "outputs": [{"name": "features"}] * 2}, "twice"),
    "outputs of text": ({"inputs": [tensor()], "outputs": ["features"]}, "a list of objects"),
    "top classes": (
        {"inputs": [tensor()], "outputs": [{"name": "features", "parameters": {"classification": 3}}]},
        "classification is not offered",
    ),
    "shared memory": ({"inputs": [tensor(parameters={"shared_memory_region": "a"})]}, "shared memory"),
    "a flag that is none": ({"inputs": [tensor()], "parameters": {"binary_data_output": 1}}, "true or false"),
    "parameters of text": ({"inputs": [tensor(parameters="x")]}, "has to be an object"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_json_is_told_in_one_line(mistake: str) -> None:
    request, words = MISTAKES[mistake]
    problem = refused(request)
    assert problem.status == 400
    assert words in problem.detail


def test_a_mistake_in_binary_data_is_told_in_one_line() -> None:
    def request(size: Any, **changes: Any) -> dict[str, Any]:
        return {"inputs": [tensor(**{"data": None, "parameters": {"binary_data_size": size}, **changes})]}

    files = {"datatype": "BYTES", "shape": [1]}
    assert "12 bytes follow" in refused(request(11), bytes(12)).detail
    assert "binary_data_size" in refused(request("12"), bytes(12)).detail
    assert "holds 11 values" in refused(request(11), bytes(11)).detail
    assert "both data" in refused(request(12, data=[1]), bytes(12)).detail
    assert "no parameter binary_data_size" in refused({"inputs": [tensor()]}, bytes(12)).detail
    assert "the body has" in refused(request(12), bytes(12), length=10**6).detail
    for cut in (b"\x01\0", b"\x05\0\0\0abc"):
        assert "end inside an element" in refused(request(len(cut), **files), cut).detail


def test_more_pictures_than_allowed_are_too_large() -> None:
    assert refused({"inputs": [tensor(shape=[5, 2, 3, 1], data=[0] * 30)]}).status == 413
    assert refused({"inputs": [tensor(datatype="BYTES", shape=[5], data=[""] * 5)]}).status == 413


def test_the_length_of_the_json_is_read_from_the_header() -> None:
    assert json_length({}) is None
    assert json_length({"inference-header-content-length": "123"}) == 123
    for wrong in ("", "-1", "1e3", "٣", "9" * 30):
        with pytest.raises(Problem, match="number of bytes"):
            json_length({"inference-header-content-length": wrong})


def respond(outputs: tuple[WantedOutput, ...], **answers: Any) -> Response:
    request = InferRequest(IMAGES, None, outputs)
    arrays = {name: np.asarray(value, np.float32) for name, value in answers.items()}
    return answer_infer(request, model="m", version="7", request_id="r", answers=arrays)


def test_an_answer_in_json_lists_numbers() -> None:
    response = respond((WantedOutput("probabilities", False),), probabilities=[[0.25, 0.75]])
    assert response.content_type == "application/json"
    assert json.loads(response.body) == {
        "model_name": "m",
        "model_version": "7",
        "id": "r",
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [1, 2], "data": [0.25, 0.75]}],
    }


def test_binary_outputs_follow_the_json_in_their_order() -> None:
    wanted = (WantedOutput("features", True), WantedOutput("probabilities", False), WantedOutput("more", True))
    response = respond(wanted, features=[[1, 2], [3, 4]], probabilities=[[0.5]], more=np.ones((4, 2)).T)
    assert response.content_type == "application/octet-stream"
    length = json_length(dict(response.headers))
    outputs = json.loads(response.body[:length])["outputs"]
    assert [one.get("parameters") for one in outputs] == [{"binary_data_size": 16}, None, {"binary_data_size": 32}]
    raw = np.frombuffer(response.body[length:], "<f4")
    np.testing.assert_array_equal(raw, [1, 2, 3, 4] + [1] * 8)


def test_a_bundle_is_described_as_it_answers(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "b", size=4, channels=3, classes=5, width=6)
    told = model_metadata(bundle.metadata, name="digits")
    answers = Session(bundle.model()).run(np.zeros((2, 4, 4, 3), np.uint8))
    assert told["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, 4, 4, 3]}]
    shapes = {one["name"]: one["shape"] for one in told["outputs"]}
    assert shapes == {"probabilities": [-1, answers.output.shape[1]], "features": [-1, answers.features.shape[1]]}
    assert (told["name"], told["versions"]) == ("digits", ["1"])


def test_health_and_the_server_are_told_in_the_protocols_words() -> None:
    assert live_body() == {"live": True}
    assert ready_body(ready=False) == {"ready": False}
    assert ready_body(ready=True, name="m") == {"name": "m", "ready": True}
    assert server_metadata()["extensions"] == ["binary_tensor_data"]


def test_a_problem_also_carries_the_protocols_error() -> None:
    response = v2_problem(bad_request("wrong"), "r1")
    body = json.loads(response.body)
    assert (response.status, body["error"], body["detail"], body["request_id"]) == (400, "wrong", "wrong", "r1")
