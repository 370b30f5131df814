"""What the settings of a service do, and how it says that it can't start."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from echo_server import read_head
from running_service import Answer, RunningService, running
from tiny_bundles import make_bundle

from mlstack.config.command_line import run
from mlstack.config.serving import ServeConfig
from mlstack.serving.keys import add_key

SIZE = 8
RAW = {"content_type": "application/octet-stream"}
SITE = "https://example.org"


def pictures(count: int = 1, size: int = SIZE) -> bytes:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 1), np.uint8).tobytes()


def replace_bundle(folder: Path, **settings: Any) -> None:
    """Write another bundle into a folder's place, as a release does: moved there when it is whole."""
    new = folder.parent / f".{folder.name}"
    make_bundle(new, **settings)
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def reloaded(service: RunningService) -> dict[str, str]:
    """Ask to look for bundles; what became of each."""
    answer = service.ask("POST", "/admin/reload")
    assert answer.status == 200
    return {one["label"]: one["result"] for one in answer.json["models"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of bundles, at first with one."""
    folder = tmp_path_factory.mktemp("settings") / "models"
    make_bundle(folder / "first", seed=1)
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[RunningService]:
    settings = ("serve.cache_mb=1", "serve.docs=false", "serve.reload_s=0", "serve.access_log=false")
    with running(f"bundle={folder}", *settings) as started:
        yield started


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/page/page.css", "/favicon.ico", "/favicon.svg"])
def test_without_docs_there_are_no_pages(service: RunningService, path: str) -> None:
    assert service.get(path).status == 404


def test_without_docs_the_rest_is_there(service: RunningService) -> None:
    for path in ("/health", "/status", "/metrics", "/v2"):
        assert service.get(path).status == 200


def test_a_remembered_answer_is_the_same_and_a_reload_forgets_it(service: RunningService, folder: Path) -> None:
    first, second = (service.ask("POST", "/v1/models/first/predict", pictures(), **RAW).json for _ in range(2))
    assert second["predictions"] == first["predictions"]
    assert second["request_id"] != first["request_id"]
    assert second["timing_ms"]["queue"] == second["timing_ms"]["model"] == 0 < first["timing_ms"]["model"]
    replace_bundle(folder / "first", seed=2)  # another model under the same name and version
    assert reloaded(service)["first"] == "loaded"
    third = service.ask("POST", "/v1/models/first/predict", pictures(), **RAW).json
    assert third["version"] == first["version"]
    assert third["predictions"] != first["predictions"]


def test_a_bundle_that_appears_is_served_once_asked_to_look_and_a_broken_one_is_not(
    service: RunningService, folder: Path
) -> None:
    make_bundle(folder / "second", version="2")
    path = "/v1/models/second/predict"
    assert service.ask("POST", path, pictures(), **RAW).status == 404
    assert reloaded(service)["second"] == "loaded"
    assert service.ask("POST", path, pictures(), **RAW).json["version"] == "2"
    (folder / "second" / "model.onnx").write_bytes(b"broken")
    os.utime(folder / "second" / "metadata.json", ns=(1, 1))
    assert reloaded(service)["second"] == "refused"
    assert service.ask("POST", path, pictures(2), **RAW).status == 200
    shutil.rmtree(folder / "second")
    assert reloaded(service)["second"] == "removed"
    assert service.ask("POST", path, pictures(), **RAW).status == 404
    assert 'model_info{model="second"' not in service.get("/metrics").body.decode()


def test_a_bundle_that_was_never_served_is_counted_when_it_is_refused(service: RunningService, folder: Path) -> None:
    third = make_bundle(folder / "the third").path
    (third / "model.onnx").write_bytes(b"broken")
    assert reloaded(service)["the-third"] == "refused"
    shutil.rmtree(third)
    assert 'model_reloads_total{model="the-third",result="refused"} 1.0' in service.get("/metrics").body.decode()


@pytest.fixture(scope="module")
def with_sites(folder: Path) -> Iterator[RunningService]:
    """A service that lets the pages of SITE read its answers, with limits that a test reaches soon."""
    # Two connections: the last test's may not have ended yet.
    limits = ("serve.max_body_mb=0.01", "serve.read_timeout_s=0.5", "serve.max_connections=2")
    with running(f"bundle={folder / 'first'}", f"serve.cors_origins=[{SITE}]", *limits) as started:
        yield started


def refusal(service: RunningService, sent: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of the first answer to what is sent on a connection of its own."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as sock:
        sock.sendall(sent)
        return read_head(sock)


LONG, CHUNKS = "Content-Length: 99999", "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("status", "framing", "body"),
    [(413, LONG, ""), (413, CHUNKS, "ffff\r\n"), (400, CHUNKS, "no number\r\n"), (408, CHUNKS, "")],
    ids=["a length that is too long", "chunks that are too long", "a broken body", "a slow body"],
)
def test_the_page_of_an_allowed_site_may_read_why_the_http_server_refused_it(
    with_sites: RunningService, status: int, framing: str, body: str
) -> None:
    for origin, allowed in ((SITE, SITE), ("https://evil.example", None)):
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: {origin}\r\n{framing}\r\n\r\n"
        told, headers = refusal(with_sites, (head + body).encode())
        assert (told, headers.get("access-control-allow-origin"), headers["vary"]) == (status, allowed, "origin")


def test_who_sends_no_head_that_can_be_read_is_of_no_site(with_sites: RunningService) -> None:
    refusals = [refusal(with_sites, f"POST /predict\r\nOrigin: {SITE}\r\n\r\n".encode())]
    here = ("127.0.0.1", with_sites.port)
    with socket.create_connection(here), socket.create_connection(here):  # as many as are allowed
        refusals.append(refusal(with_sites, b""))
    assert [status for status, _ in refusals] == [400, 503]
    assert not [name for _, headers in refusals for name in headers if name.startswith("access-")]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Two models between which requests are split, one batch at a time, and hardly a queue."""
    root = tmp_path_factory.mktemp("experiment")
    for name in ("a", "b"):
        make_bundle(root / name, size=64, width=32)
    words = (f"bundle=[{root / 'a'},{root / 'b'}]", "serve.split={a:50,b:50}", "serve.workers=1")
    with running(*words, "serve.queue_images=1", "serve.access_log=false") as started:
        yield started


def test_a_user_keeps_a_model_and_a_header_forces_one(experiment: RunningService) -> None:
    def model(**headers: str) -> str:
        return str(experiment.ask("POST", "/predict", pictures(size=64), **RAW, **headers).json["model"])

    users = {f"u{number}": model(x_user_id=f"u{number}") for number in range(12)}
    assert set(users.values()) == {"a", "b"}
    for user, arm in list(users.items())[:4]:
        assert model(x_user_id=user) == arm
    for arm in ("a", "b"):
        assert model(x_user_id="u0", x_variant=arm) == arm
    refused = experiment.ask("POST", "/predict", pictures(size=64), **RAW, x_variant="c")
    assert refused.status == 400
    assert "a, b" in refused.json["detail"]


def test_many_large_requests_at_once_are_answered_or_told_to_wait(experiment: RunningService) -> None:
    body = pictures(64, size=64)

    def ask(number: int) -> Answer:
        return experiment.ask("POST", "/predict", body, **RAW, x_user_id=f"u{number}")

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(48)))
    assert {answer.status for answer in answers} == {200, 429}
    for answer in answers:
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.headers["content-type"] == "application/problem+json"
        else:
            assert len(answer.json["predictions"]) == 64
    assert ask(0).status == 200
    assert 'inference_rejections_total{reason="overloaded"}' in experiment.get("/metrics").body.decode()


def test_a_label_for_an_answer_of_a_replaced_version_is_not_held_against_the_new_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_bundle(tmp_path / name)
    words = (f"bundle=[{tmp_path / 'a'},{tmp_path / 'b'}]", "serve.split={a:50,b:50}", "serve.reload_s=0")
    with running(*words, "serve.access_log=false") as service:

        def judged() -> int:
            """Tell what was right; how many labels count for b."""
            label = {"request_id": "one", "label": "class_0"}
            assert service.ask("POST", "/feedback", json.dumps(label).encode()).status == 200
            return int(service.get("/experiments").json["experiment"]["arms"]["b"]["labels"])

        headers = {"x_request_id": "one", "x_variant": "b"}
        service.ask("POST", "/predict", pictures(), **RAW, **headers)
        assert judged() == 1
        service.ask("POST", "/predict", pictures(), **RAW, **headers)
        replace_bundle(tmp_path / "b", seed=2)
        assert reloaded(service)["b"] == "loaded"
        assert judged() == 0
        service.ask("POST", "/predict", pictures(), **RAW, **headers)
        assert judged() == 1


@pytest.fixture
def models(tmp_path: Path) -> str:
    """Two bundles, a and b, as `bundle=` names them."""
    for name in ("a", "b"):
        make_bundle(tmp_path / name)
    return f"bundle=[{tmp_path / 'a'},{tmp_path / 'b'}]"


Start = Callable[..., str]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which something else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield int(other.getsockname()[1])


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], taken: int) -> Start:
    """`refused(*words)`: the message of a service that does not start."""

    def start(*words: str) -> str:
        # The port is looked at last: what should be refused and isn't ends there, and does not serve for ever.
        monkeypatch.setattr(sys, "argv", ["serve.py", f"serve.port={taken}", *words])
        with pytest.raises(SystemExit) as end:
            run("mlstack.commands.serve:serve", ServeConfig, config_name="serve")
        _, err = capfd.readouterr()
        assert end.value.code == 2
        assert "Traceback" not in err
        [message] = [part for part in err.split("error: ")[1:] if part]
        return message

    return start


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["serve.split={a:1,c:1}"], ["serve.split", "'c'", "allowed: a, b"]),
        (["serve.canary=c"], ["serve.canary", "'c'", "allowed: a, b"]),
        (["serve.shadow=c"], ["serve.shadow=c", "allowed: a, b"]),
        (["serve.default=c"], ["serve.default=c", "allowed: a, b"]),
        (["serve.canary=a", "serve.default=a"], ["serve.canary=a", "default"]),
        (["serve.precision=int8"], ["int8", "fp32"]),
        (["serve.api_keys_file=none.txt"], ["none.txt", "scripts/make_api_key.py name=NAME file=none.txt"]),
        (["serve.host=192.0.2.1", "serve.allow_anonymous=true"], ["serve.host=192.0.2.1", "127.0.0.1"]),
    ],
)
def test_what_cant_be_started_is_one_message_that_says_what_there_is(
    models: str, refused: Start, words: list[str], named: list[str]
) -> None:
    message = refused(models, *words)
    for word in named:
        assert word in message


@pytest.mark.parametrize("key", ["canary", "shadow"])
def test_a_model_that_stands_beside_another_needs_one(tmp_path: Path, refused: Start, key: str) -> None:
    make_bundle(tmp_path / "only")
    message = refused(f"bundle={tmp_path / 'only'}", f"serve.{key}=only")
    assert f"serve.{key}=only" in message
    assert "bundle=[" in message


def test_a_shadow_that_is_named_first_does_not_answer(models: str) -> None:
    with running(models, "serve.shadow=a", "serve.access_log=false") as started:
        assert started.ask("POST", "/predict", pictures(), **RAW).json["model"] == "b"
        assert started.get("/status").json["default"] == "b"


def test_a_damaged_bundle_is_named(tmp_path: Path, refused: Start) -> None:
    make_bundle(tmp_path / "hurt")
    (tmp_path / "hurt" / "model.onnx").write_bytes(b"x")
    message = refused(f"bundle={tmp_path / 'hurt'}")
    assert str(tmp_path / "hurt") in message
    assert "model.onnx" in message


def test_a_folder_without_bundles_is_refused_unless_one_is_waited_for(tmp_path: Path, refused: Start) -> None:
    (tmp_path / "empty").mkdir()
    message = refused(f"bundle={tmp_path / 'empty'}", "serve.reload_s=0")
    assert str(tmp_path / "empty") in message
    assert "serve.reload_s=2" in message


def test_a_port_in_use_is_said_in_one_line_with_another_one(models: str, refused: Start, taken: int) -> None:
    message = refused(models)
    assert f"serve.port={taken} is in use" in message
    assert "serve.port=0" in message


def test_keys_that_are_no_keys_are_refused_without_being_shown(tmp_path: Path, models: str, refused: Start) -> None:
    file = tmp_path / "keys.txt"
    key = add_key(file, "alice", admin=False)
    file.write_text(f"alice {key}\n")
    message = refused(models, f"serve.api_keys_file={file}")
    assert "line 1" in message
    assert key not in message


def test_help_lists_every_key_with_its_meaning(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["serve.py", "--help"])
    with pytest.raises(SystemExit) as end:
        run("mlstack.commands.serve:serve", ServeConfig, config_name="serve", usage="Serve.")
    out, _ = capfd.readouterr()
    assert end.value.code == 0
    for key in (
        "serve.port",
        "serve.api_keys_file",
        "serve.rollout.steps",
        "serve.drift.window",
        "serve.journal.folder",
    ):
        assert key in out
    assert "beyond: 429" in out
