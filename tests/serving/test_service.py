"""The whole service, in a process of its own, asked over HTTP."""

from __future__ import annotations

import base64
import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from running_service import RunningService, running
from tiny_bundles import make_bundle

from mlstack.bundle.folder import read_bundle
from mlstack.bundle.session import Session

SIZE, CHANNELS = 8, 3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "digits"
    make_bundle(folder, size=SIZE, channels=CHANNELS, version="7")
    return folder


@pytest.fixture(scope="module")
def service(bundle: Path) -> Iterator[RunningService]:
    with running(f"bundle={bundle}") as started:
        yield started


def pictures(count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, CHANNELS), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def form(*files: bytes) -> tuple[bytes, str]:
    """A multipart body and its content type."""
    parts = b"".join(
        b'--edge\r\ncontent-disposition: form-data; name="file"; filename="one.png"\r\n\r\n%s\r\n' % file
        for file in files
    )
    return parts + b"--edge--\r\n", "multipart/form-data; boundary=edge"


def test_every_way_to_send_a_picture_gets_the_same_answer(service: RunningService, bundle: Path) -> None:
    images = pictures(2)
    expected = Session(read_bundle(bundle).path / "model.onnx").run(images).output
    npy = io.BytesIO()
    np.save(npy, images)
    body, kind = form(*(png(image) for image in images))
    encoded = [base64.b64encode(png(image)).decode() for image in images]
    answers = [
        service.post("/predict?top_k=10", {"inputs": images.tolist()}),
        service.post("/predict?top_k=10", {"images": encoded}),
        service.ask("POST", "/predict?top_k=10", images.tobytes(), content_type="application/octet-stream"),
        service.ask("POST", "/v1/models/digits/predict?top_k=10", npy.getvalue(), content_type="application/x-npy"),
        service.ask("POST", "/predict_image?top_k=10", body, content_type=kind),
    ]
    for answer in answers:
        assert answer.status == 200, answer.body
        rows = [list(map(one["probabilities"].get, CLASSES)) for one in answer.json["predictions"]]
        np.testing.assert_allclose(rows, expected, rtol=1e-5)


CLASSES = [f"class_{number}" for number in range(10)]


def test_an_answer_tells_what_was_found_by_whom_and_how_long_it_took(service: RunningService) -> None:
    answer = service.post("/predict", {"inputs": pictures().tolist()}, x_request_id="mine-1")
    told = answer.json
    [prediction] = told["predictions"]
    assert prediction["class"] == CLASSES[prediction["index"]]
    assert list(prediction["probabilities"]) == sorted(
        prediction["probabilities"], key=prediction["probabilities"].get, reverse=True
    )
    assert len(prediction["probabilities"]) == 5
    assert prediction["confidence"] == max(prediction["probabilities"].values())
    assert (told["model"], told["version"], told["request_id"]) == ("digits", "7", "mine-1")
    assert answer.headers["x-request-id"] == "mine-1"
    assert set(told["timing_ms"]) == {"queue", "decode", "model", "total"}
    assert 0 < told["timing_ms"]["model"] <= told["timing_ms"]["total"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("POST", "/predict", b"{", {"content_type": "application/json"}, 400),
        ("POST", "/predict", b'{"inputs": [[[1]]]}', {"content_type": "application/json"}, 400),
        ("POST", "/predict", b'{"inputs": [NaN]}', {"content_type": "application/json"}, 400),
        ("POST", "/predict", b"12345", {"content_type": "application/octet-stream"}, 400),
        ("POST", "/predict", b"GIF", {"content_type": "text/plain"}, 415),
        ("POST", "/predict?top_k=0", b"{}", {"content_type": "application/json"}, 400),
        ("POST", "/predict", b"{}", {"content_type": "application/json", "x_deadline_ms": "soon"}, 400),
        ("POST", "/v1/models/none/predict", b"{}", {"content_type": "application/json"}, 404),
        ("GET", "/nothing", None, {}, 404),
        ("GET", "/predict", None, {}, 405),
        ("DELETE", "/health", None, {}, 405),
        ("POST", "/feedback", b'{"request_id": "unknown", "label": "a"}', {}, 404),
        ("POST", "/feedback", b"[]", {}, 400),
        ("POST", "/admin/canary", b"{}", {}, 404),
        ("GET", "/examples/99.png", None, {}, 404),
        ("POST", "/v2/models/digits/infer", b"{}", {}, 400),
        ("GET", "/v2/models/digits/versions/8", None, {}, 404),
    ],
)
def test_a_mistake_is_a_problem_body_with_one_clear_line(
    service: RunningService, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    answer = service.ask(method, path, body, **headers)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json
    assert problem["status"] == status
    assert problem["detail"]
    assert "\n" not in problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_the_service_says_what_it_is_and_how_it_is_doing(service: RunningService) -> None:
    service.post("/predict", {"inputs": pictures().tolist()})
    assert service.get("/health").json["status"] == "ok"
    assert service.get("/ready").json["models"] == ["digits"]
    assert service.get("/metadata").json["classes"] == CLASSES
    [model] = service.get("/models").json["models"]
    size = {"height": SIZE, "width": SIZE, "channels": CHANNELS, "resize": "crop", "decoded_size": SIZE}
    assert model["input"] == size
    status = service.get("/status").json
    assert status["models"][0]["requests"] >= 1
    assert status["traffic"]["p95_ms"] > 0
    assert 20 < status["memory_mb"] < 400
    assert status["experiment"] is None
    assert service.get("/drift").json["models"]["digits"]["drifting"] is False
    assert service.get("/experiments").json == {"experiment": None, "shadow": None}


def test_prometheus_finds_every_series(service: RunningService) -> None:
    service.post("/predict", {"inputs": pictures().tolist()})
    service.get("/nothing")
    text = service.get("/metrics").body.decode()
    for series in (
        'inference_requests_total{model="digits",status="200"}',
        'inference_rejections_total{reason="not_found"}',
        'inference_latency_seconds_bucket{le="0.01",model="digits"}',
        'inference_latency_seconds_bucket{le="1.0",model="digits"}',
        'inference_queue_seconds_count{model="digits"}',
        'inference_decode_seconds_count{model="digits"}',
        'inference_model_seconds_count{model="digits"}',
        'inference_batch_size_count{model="digits"}',
        "process_resident_memory_bytes",
        'model_info{model="digits",precision="fp32",provider="CPUExecutionProvider",version="7"} 1.0',
        "service_ready 1.0",
    ):
        assert series in text, series


def test_examples_are_the_golden_pictures_and_can_be_asked_about(service: RunningService) -> None:
    examples = service.get("/examples").json["examples"]
    assert len(examples) == 8
    picture = service.get(examples[0]["url"])
    assert picture.headers["content-type"] == "image/png"
    body, kind = form(picture.body)
    assert service.ask("POST", "/predict_image", body, content_type=kind).status == 200


def test_true_labels_are_counted_for_the_model_that_answered(service: RunningService) -> None:
    told = service.post("/predict", {"inputs": pictures(2).tolist()}).json
    first = told["predictions"][0]["class"]
    wrong = next(name for name in CLASSES if name != told["predictions"][1]["class"])
    answer = service.post("/feedback", {"request_id": told["request_id"], "labels": [first, wrong]})
    assert answer.json == {
        "request_id": told["request_id"], "model": "digits", "right": 1, "wrong": 1, "journaled": False,
    }  # fmt: skip
    refused = service.post("/feedback", {"request_id": told["request_id"], "labels": ["cat", None]})
    assert refused.status == 400
    assert '"cat"' in refused.json["detail"]


def test_other_web_sites_may_not_ask_unless_they_are_allowed(service: RunningService) -> None:
    answer = service.ask("OPTIONS", "/predict", None, origin="https://example.org")
    assert answer.status == 204
    assert "access-control-allow-origin" not in answer.headers


def test_an_expired_request_is_dropped_before_the_model_sees_it(service: RunningService) -> None:
    answer = service.post("/predict", {"inputs": pictures().tolist()}, x_deadline_ms="0.001")
    assert answer.status == 503
    assert "deadline" in answer.json["detail"]


def test_each_request_is_a_line_of_the_log_without_its_content(bundle: Path) -> None:
    with running(f"bundle={bundle}") as started:
        started.post("/predict", {"inputs": pictures().tolist()}, x_request_id="logged")
        started.get("/health")
        assert started.stop() == 0
    [line] = started.events("request")  # and none for the probe
    assert line["request_id"] == "logged"
    assert (line["method"], line["path"], line["status"], line["model"]) == ("POST", "/predict", 200, "digits")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_with_status_0(bundle: Path, number: signal.Signals) -> None:
    with running(f"bundle={bundle}", "serve.access_log=false") as started:
        assert started.stop(number) == 0
    assert not [line for line in started.log if "Traceback" in line]


def test_keys_are_asked_for_and_never_logged(bundle: Path, tmp_path: Path) -> None:
    from mlstack.serving.keys import add_key

    keys = tmp_path / "keys.txt"
    user, admin = add_key(keys, "alice", admin=False), add_key(keys, "root", admin=True)
    with running(f"bundle={bundle}", f"serve.api_keys_file={keys}") as started:
        body = {"inputs": pictures().tolist()}
        assert started.get("/health").status == 200
        assert started.post("/predict", body).status == 401
        assert started.post("/predict", body, authorization="Bearer wrong").status == 401
        assert started.post("/predict", body, authorization=f"Bearer {user}").status == 200
        assert started.post("/predict", body, x_api_key=user).status == 200
        assert started.post("/admin/reload", {}, x_api_key=user).status == 403
        reloaded = started.post("/admin/reload", {}, x_api_key=admin)
        assert [one["result"] for one in reloaded.json["models"]] == ["unchanged"]
        assert started.stop() == 0
    assert user not in "".join(started.log)


def test_a_service_without_anything_to_serve_ends_with_one_message(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no bundle there") as caught, running(f"bundle={tmp_path / 'none'}"):
        pass
    assert "Traceback" not in str(caught.value)


def test_the_description_lists_exactly_what_the_service_answers(service: RunningService) -> None:
    paths = json.loads(service.get("/openapi.json").body)["paths"]
    for path, methods in paths.items():
        for method in methods:
            example = path.replace("{name}", "digits").replace("{version}", "7").replace("{file}", "0.png")
            example = example.replace("{i}", "0").replace("{index}", "0")
            body = b"{}" if method == "post" else None
            assert service.ask(method.upper(), example, body).status not in (404, 405) or "canary" in path, path
