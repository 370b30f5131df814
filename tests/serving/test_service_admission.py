"""The application without sockets: who is let in, who is refused, and what is left behind."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_bundles import make_bundle

from mlstack.bundle.session import SessionAnswers
from mlstack.commands.serve import _parts
from mlstack.config.serving import ServeConfig, ServeSettings
from mlstack.serving.keys import add_key
from mlstack.serving.messages import Head, Request, Response
from mlstack.serving.problems import Problem
from mlstack.serving.service import Service

PATIENCE = 30.0  # seconds after which a test that hangs fails
RAW = {"content-type": "application/octet-stream"}
PICTURE = bytes(64)
SITE = "https://example.org"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("admission") / "digits"
    make_bundle(folder, size=8, channels=1)
    return folder


Start = Callable[..., Service]


@pytest.fixture
def start(bundle: Path) -> Iterator[Start]:
    """`start(rate_limit=2)`: a service with the bundle."""
    with ExitStack() as closing:

        def started(**settings: Any) -> Service:
            options = ServeSettings(**{"device": "cpu", "access_log": False, "workers": 1, **settings})
            service, catalogue, _ = closing.enter_context(_parts(ServeConfig([str(bundle)], serve=options)))
            closing.callback(lambda: asyncio.run(catalogue.close()))
            return service

        yield started


@dataclass
class Gate:
    """Holds the model's batches up until it is opened."""

    began: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    opened: threading.Event = field(default_factory=threading.Event)

    async def entered(self) -> None:
        assert await asyncio.to_thread(self.began.acquire, timeout=PATIENCE)


@contextmanager
def gate(service: Service) -> Iterator[Gate]:
    [model] = service.handlers.catalogue.models.values()
    it, run = Gate(), model.lane.run

    def held(images: np.ndarray) -> SessionAnswers:
        it.began.release()
        it.opened.wait(PATIENCE)
        return run(images)

    model.lane.run = held
    try:
        yield it
    finally:
        it.opened.set()
        model.lane.run = run


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), PATIENCE))


async def ask(
    service: Service, method: str, path: str, body: bytes = b"", peer: str = "127.0.0.1", **headers: str
) -> Response:
    """What the HTTP server does with a request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    head = Head(method, path, headers={"host": "127.0.0.1:8000", **named}, peer=peer)
    refused = service.admit(head)
    return refused if refused is not None else await service.answer(Request(head, body))


async def predict(service: Service, path: str = "/predict", **headers: str) -> Response:
    return await ask(service, "POST", path, PICTURE, **{"content_type": "application/octet-stream", **headers})


def asked(service: Service, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
    return asyncio.run(ask(service, method, path, body, **headers))


def rejected(service: Service, reason: str) -> float:
    return service.metrics.registry.get_sample_value("inference_rejections_total", {"reason": reason}) or 0


def test_no_such_address_and_no_such_method_are_told_apart(start: Start) -> None:
    service = start()
    nowhere, wrong = asked(service, "GET", "/nowhere"), asked(service, "GET", "/predict")
    assert (nowhere.status, wrong.status) == (404, 405)
    assert dict(wrong.headers)["allow"] == "POST"
    assert asked(service, "HEAD", "/health").status == 200
    assert asked(service, "DELETE", "/v2/models/digits").status == 405
    assert (rejected(service, "not_found"), rejected(service, "method")) == (1, 2)


@pytest.mark.parametrize("path", ["/a\nb", "/" + "long" * 2000, "*", "/\x1b[2J", "/ü/\u2028", "/examples/²", "/v2\n"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_whatever_address_is_asked_for_the_refusal_is_one_short_line(start: Start, method: str, path: str) -> None:
    response = asked(start(), method, path)
    assert response.status in (404, 405, 204)
    detail = json.loads(response.body)["detail"] if response.body else ""
    assert detail.isprintable() or not detail
    assert len(detail) < 200


@pytest.mark.parametrize("file", ["²", "٣", "0x0", "-1", "1e0", "0000", "9", "999"])
def test_a_number_of_an_example_is_written_in_digits(start: Start, file: str) -> None:
    assert asked(start(), "GET", f"/examples/{file}.png").status == 404


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v2/nothing", b""),
        ("POST", "/v2", b""),
        ("POST", "/v2/models/digits/infer", b"{"),
        ("POST", "/v2/models/none/infer", b"{}"),
        ("GET", "/v2/models/digits/versions/7\n8", b""),
    ],
)
def test_clients_of_v2_find_their_error(start: Start, method: str, path: str, body: bytes) -> None:
    response = asked(start(), method, path, body)
    told = json.loads(response.body)
    assert 400 <= response.status < 500
    assert told["error"] == told["detail"]
    assert told["error"].isprintable()


def test_others_get_no_error_beside_the_problem(start: Start) -> None:
    assert "error" not in json.loads(asked(start(), "GET", "/v22").body)


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, str, str]:
    """The file, a user's key, and an administrator's."""
    file = tmp_path / "keys.txt"
    return file, add_key(file, "alice", admin=False), add_key(file, "root", admin=True)


OPEN = {"/health", "/ready", "/v2/health/live", "/v2/health/ready", "/", "/docs", "/favicon.ico", "/favicon.svg",
        "/page/{file}"}  # fmt: skip


def test_without_a_key_nothing_is_open_but_health_and_the_pages(start: Start, keys: tuple[Path, str, str]) -> None:
    service = start(api_keys_file=str(keys[0]))
    assert {route.pattern for route in service.handlers.routes() if route.open} == OPEN
    for route in service.handlers.routes():
        path = route.pattern.replace("{name}", "digits").replace("{version}", "1").replace("{file}", "page.css")
        response = asked(service, route.method, path)
        assert response.status == (200 if route.pattern in OPEN else 401), path
        if response.status == 401:
            assert dict(response.headers)["www-authenticate"].startswith("Bearer")
            assert b"class_0" not in response.body


def test_whoever_has_no_key_learns_nothing_but_whether_the_service_lives_and_is_ready(
    start: Start, keys: tuple[Path, str, str]
) -> None:
    file, user, admin = keys
    service = start(api_keys_file=str(file))
    ready, named = {"status": "ready"}, {"status": "ready", "models": ["digits"]}
    for wrong in ({}, {"x_api_key": user[:-1] + "?"}, {"authorization": "Bearer mls_" + "x" * 43}):
        assert json.loads(asked(service, "GET", "/ready", b"", **wrong).body) == ready
    for key in (user, admin):
        assert json.loads(asked(service, "GET", "/ready", x_api_key=key).body) == named
    assert json.loads(asked(start(), "GET", "/ready").body) == named
    for route in service.handlers.routes():
        told = asked(service, route.method, route.pattern.replace("{file}", "page.css"))
        assert not {name for name, _ in told.headers} & {"x-model"}
        assert b"digits" not in told.body or told.content_type.startswith("text/"), route.pattern
    service.stop()
    assert b"digits" not in asked(service, "GET", "/ready").body


def test_a_key_opens_what_it_is_for(start: Start, keys: tuple[Path, str, str]) -> None:
    file, user, admin = keys
    service = start(api_keys_file=str(file))
    run_predict = asyncio.run(predict(service, authorization=f"Bearer {user}"))
    assert run_predict.status == 200
    assert asked(service, "GET", "/openapi.json", x_api_key=user).status == 200
    refused = asked(service, "POST", "/admin/reload", x_api_key=user)
    assert refused.status == 403
    assert b"alice" in refused.body
    assert asked(service, "POST", "/admin/reload", x_api_key=admin).status == 200
    for wrong in (user[:-1] + "?", "mls_" + "x" * 43, "é", ""):
        assert asked(service, "GET", "/status", x_api_key=wrong).status == 401
    assert asked(service, "GET", "/status", host="evil.example", x_api_key=user).status == 200


def test_a_service_for_everybody_without_keys_has_no_administrators(start: Start) -> None:
    service = start(allow_anonymous=True, host="0.0.0.0")
    for path in ("/admin/reload", "/admin/canary"):
        refused = asked(service, "POST", path)
        assert refused.status == 403
        assert b"serve.api_keys_file" in refused.body
    assert asyncio.run(predict(service, host="example.org")).status == 200
    assert asked(start(), "POST", "/admin/reload").status == 200


def test_who_asks_too_often_waits_and_others_do_not(start: Start) -> None:
    service = start(rate_limit=0.01, rate_burst=2)

    async def main() -> None:
        statuses = [(await predict(service)).status for _ in range(3)]
        assert statuses == [200, 200, 429]
        refused = await predict(service)
        assert int(dict(refused.headers)["retry-after"]) > 90
        assert "0.01 requests a second" in json.loads(refused.body)["detail"]
        assert (await ask(service, "GET", "/status", peer="192.0.2.7")).status == 200
        assert (await ask(service, "GET", "/health")).status == 200

    run(main)
    assert rejected(service, "rate_limited") == 2


def test_a_key_has_a_limit_of_its_own_and_guessing_keys_is_limited_too(
    start: Start, keys: tuple[Path, str, str]
) -> None:
    file, user, admin = keys
    service = start(api_keys_file=str(file), rate_limit=0.01, rate_burst=2)
    guesses = [asked(service, "GET", "/status", x_api_key="mls_" + "x" * 43).status for _ in range(3)]
    assert guesses == [401, 401, 429]
    assert [asked(service, "POST", "/feedback", x_api_key=user).status for _ in range(3)] == [400, 400, 429]
    assert asked(service, "POST", "/feedback", x_api_key=admin).status == 400
    assert [asked(service, "GET", "/status", x_api_key=user).status for _ in range(3)] == [
        200,
        200,
        200,
    ]  # looking is free


def test_a_full_queue_refuses_before_the_body_and_after_it(start: Start) -> None:
    service = start(queue_images=1)

    async def main() -> None:
        with gate(service) as it:
            runs = asyncio.create_task(predict(service))
            await it.entered()
            waits = asyncio.create_task(predict(service))
            while not service.handlers.predictor.scheduler.waiting_images:
                await asyncio.sleep(0)
            refused = await predict(service)
            assert refused.status == 429
            assert int(dict(refused.headers)["retry-after"]) >= 1
            large = Head("POST", "/predict", headers={"host": "localhost", "content-length": str(10**7)})
            early = service.admit(large)
            assert early is not None
            assert early.status == 429
            assert (await ask(service, "GET", "/status")).status == 200
            it.opened.set()
            assert [one.status for one in await asyncio.gather(runs, waits)] == [200, 200]

    run(main)
    assert service.in_flight == 0


def test_nothing_is_in_flight_after_mistakes_failures_and_clients_that_left(start: Start) -> None:
    service = start()

    async def main() -> None:
        for body in (b"", b"{", PICTURE[:-1]):
            assert (await ask(service, "POST", "/predict", body)).status in (400, 415)
        with gate(service) as it:
            leaving = asyncio.create_task(predict(service))
            await it.entered()
            assert service.in_flight == 1
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            assert service.in_flight == 0
        [model] = service.handlers.catalogue.models.values()
        working, model.lane.run = model.lane.run, lambda images: 1 / 0  # type: ignore[assignment,return-value]
        failed = await predict(service)
        model.lane.run = working
        assert failed.status == 500
        assert b"ZeroDivision" not in failed.body
        assert (await predict(service)).status == 200

    run(main)
    assert service.in_flight == 0
    assert rejected(service, "model") == 1


def test_a_bug_is_counted_and_left_to_the_http_server(start: Start) -> None:
    service = start()

    async def broken(request: Request, names: dict[str, str]) -> Response:
        raise ZeroDivisionError

    object.__setattr__(service.routes.find("/status")[0]["GET"], "handler", broken)  # type: ignore[index]
    with pytest.raises(ZeroDivisionError):
        asked(service, "GET", "/status")
    assert service.in_flight == 0
    counted = {"model": "", "status": "500"}
    assert service.metrics.registry.get_sample_value("inference_requests_total", counted) == 1


def test_once_told_to_stop_it_is_not_ready_but_answers_what_comes(start: Start) -> None:
    service = start()
    ways = ("/ready", "/v2/health/ready", "/v2/models/digits/ready")
    assert [asked(service, "GET", path).status for path in ways] == [200, 200, 200]
    service.stop()
    assert not service.ready
    assert [asked(service, "GET", path).status for path in ways] == [503, 503, 503]
    assert asked(service, "GET", "/v2/health/live").status == 200
    assert asyncio.run(predict(service)).status == 200
    assert service.metrics.registry.get_sample_value("service_ready") == 0


def test_a_preflight_tells_the_methods_and_lets_allowed_sites_in(start: Start) -> None:
    closed, opened = start(), start(cors_origins=[SITE])
    for path, methods in (("/predict", "OPTIONS, POST"), ("/status", "GET, OPTIONS")):
        answer = dict(asked(opened, "OPTIONS", path, origin=SITE).headers)
        assert answer["access-control-allow-origin"] == SITE
        assert answer["access-control-allow-methods"] == methods
        assert "x-api-key" in answer["access-control-allow-headers"]
        for service, origin in ((closed, SITE), (opened, "https://evil.example")):
            refused = asked(service, "OPTIONS", path, origin=origin)
            assert refused.status == 204
            assert "access-control-allow-origin" not in dict(refused.headers)


def test_an_allowed_site_may_read_answers_and_refusals(start: Start) -> None:
    closed, opened = start(), start(cors_origins=[SITE])
    for path in ("/status", "/nowhere"):
        answer = asked(opened, "GET", path, origin=SITE)
        assert ("access-control-allow-origin", SITE) in answer.headers
        assert not [name for name, _ in asked(closed, "GET", path, origin=SITE).headers if name.startswith("access-")]


def test_a_refusal_of_the_http_servers_own_is_told_as_one_of_the_services_and_counted_by_the_server(
    start: Start,
) -> None:
    closed, opened = start(), start(cors_origins=[SITE])
    problem = Problem(413, "a body of 9 bytes; at most 8 are taken", reason="too_large")
    for path, names in (("/predict", {"detail"}), ("/v2/models/digits/infer", {"detail", "error"})):
        asks = Head("POST", path, headers={"origin": SITE})
        told = opened.refusal(asks, problem)
        assert told.status == 413
        assert ("access-control-allow-origin", SITE) in told.headers
        assert names == {name for name, text in json.loads(told.body).items() if text == problem.detail}
        assert closed.refusal(asks, problem).headers == ()
    unread = dict(opened.refusal(Head("", ""), problem).headers)
    assert not [name for name in unread if name.startswith("access-")]
    assert rejected(opened, "too_large") == 0


def test_a_page_of_another_site_changes_nothing(start: Start) -> None:
    closed, opened = start(), start(cors_origins=[SITE])
    told = json.loads(asyncio.run(predict(closed, x_request_id="one")).body)
    feedback = json.dumps({"request_id": "one", "label": told["predictions"][0]["class"]}).encode()
    simple = {"content_type": "text/plain", "origin": SITE}  # what a browser sends without asking first
    for path, body in (("/feedback", feedback), ("/admin/reload", b""), ("/admin/canary", b'{"action": "rollback"}')):
        refused = asked(closed, "POST", path, body, **simple)
        assert refused.status == 403
        assert b"serve.cors_origins" in refused.body
    assert rejected(closed, "origin") == 3
    assert asked(opened, "POST", "/admin/reload", **simple).status == 200
    assert asked(closed, "POST", "/feedback", feedback, origin="http://127.0.0.1:8000").status == 200


def test_a_name_that_was_turned_to_this_machine_is_no_way_in(start: Start) -> None:
    service = start()
    for method, path in (("GET", "/"), ("GET", "/status"), ("POST", "/predict"), ("OPTIONS", "/predict")):
        refused = asked(
            service, method, path, host="rebound.evil.example:8000", origin="http://rebound.evil.example:8000"
        )
        assert refused.status == 421
    assert rejected(service, "host") == 4
    assert asked(service, "GET", "/status", host="localhost:8000").status == 200


def test_the_same_label_told_twice_counts_once(start: Start) -> None:
    service = start()

    async def main() -> None:
        told = json.loads((await predict(service, x_request_id="twice")).body)
        label = told["predictions"][0]["class"]
        for right in (1, 0):
            body = json.dumps({"request_id": "twice", "label": label}).encode()
            answer = json.loads((await ask(service, "POST", "/feedback", body)).body)
            assert (answer["right"], answer["wrong"]) == (right, 0)

    run(main)
    counted = {"model": "digits", "right": "true"}
    assert service.metrics.registry.get_sample_value("inference_feedback_total", counted) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"request_id": "known", "labels": ["class_0"] * 100_000}, 400),
        ({"request_id": "known", "labels": []}, 400),
        ({"request_id": "known", "label": "x" * 10_000}, 400),
        ({"request_id": "known", "label": {"a": [1]}}, 400),
        ({"request_id": "known"}, 400),
        ({"request_id": 7, "label": "class_0"}, 400),
        ({"request_id": "y" * 100_000, "label": "class_0"}, 404),
        ({"request_id": "a\nb", "label": "class_0"}, 404),
    ],
)
def test_feedback_that_fits_no_answer_is_refused_in_one_short_line(start: Start, body: Any, status: int) -> None:
    service = start()
    asyncio.run(predict(service, x_request_id="known"))
    refused = asked(service, "POST", "/feedback", json.dumps(body).encode())
    assert refused.status == status
    detail = json.loads(refused.body)["detail"]
    assert detail.isprintable()
    assert len(detail) < 400


def test_what_a_client_sends_names_no_series(start: Start) -> None:
    service = start()

    async def main() -> None:
        for number in range(20):
            name = f"made-up-{number}"
            await predict(service, f"/v1/models/{name}/predict", x_request_id=name, x_user_id=name, x_variant=name)
            await ask(service, "GET", f"/{name}")
            await ask(service, "GET", f"/v2/models/{name}/versions/{name}")
            await ask(service, name.upper(), "/predict")
            await ask(service, "POST", "/predict", b"x", content_type=name)

    run(main)
    assert b"made-up" not in service.metrics.text().lower()
