"""The client against a service of sockets and threads that answers what a test tells it."""

from __future__ import annotations

import http.server
import io
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlstack.serving import client as client_file
from mlstack.serving.client import Client, ClientError

CAT = {"class": "cat", "index": 0, "confidence": 0.9, "probabilities": {"cat": 0.9}}
ANSWER = {"predictions": [CAT], "model": "pets", "version": "3", "request_id": "r7", "timing_ms": {"total": 1.5}}
BUSY = (429, {"retry-after": "0"}, {"detail": "the queue is full"})

Told = tuple[int, dict[str, str], Any]


@dataclass
class Service:
    """Answers in their order, the last one for ever; and the requests that came."""

    url: str = ""
    answers: list[Told] = field(default_factory=lambda: [(200, {}, ANSWER)])
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    connections: set[tuple[str, int]] = field(default_factory=set)


@pytest.fixture
def service() -> Iterator[Service]:
    told = Service()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            told.requests.append((self.command, self.path, headers, body))
            told.connections.add(self.client_address)
            status, more, value = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
            if status == 0:  # go away without a word
                self.close_connection = True
                return
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, text in {"content-length": str(len(content)), **more}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = "x-cut" in more  # without a word of it, as a server that has waited too long

        do_GET = do_POST = answer  # noqa: N815 - the name that http.server calls

        def log_request(self, *args: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield told
        server.shutdown()
        thread.join()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client makes, which take no time here."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    return made


def test_a_file_is_sent_as_it_is_and_answered(service: Service, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8 jpeg")
    with Client(service.url, key="secret") as client:
        answer = client.predict([tmp_path / "cat.jpg", str(tmp_path / "cat.jpg"), b"bytes"], top_k=2, user="ann")
    assert answer == [CAT]
    assert (answer.request_id, answer.model, answer.version, answer.timing_ms) == ("r7", "pets", "3", {"total": 1.5})
    method, path, headers, body = service.requests[0]
    assert (method, path) == ("POST", "/predict?top_k=2")
    assert (headers["authorization"], headers["x-user-id"]) == ("Bearer secret", "ann")
    boundary = headers["content-type"].removeprefix("multipart/form-data; boundary=")
    parts = body.split(f"--{boundary}".encode())
    assert [part.partition(b"\r\n\r\n")[2] for part in parts[1:-1]] == [b"\xff\xd8 jpeg\r\n"] * 2 + [b"bytes\r\n"]
    assert parts[-1] == b"--\r\n"


@pytest.mark.parametrize("given", ["one picture", "pictures", "a batch"])
def test_arrays_are_sent_as_a_npy_file_that_numpy_reads(service: Service, given: str) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    images: Any = {"one picture": batch[0], "pictures": list(batch), "a batch": batch}[given]
    with Client(service.url) as client:
        client.predict(images, model="a b")
    _, path, headers, body = service.requests[0]
    assert (path, headers["content-type"]) == ("/v1/models/a%20b/predict", "application/x-npy")
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), batch[:1] if given == "one picture" else batch)


def test_one_connection_serves_many_requests(service: Service) -> None:
    with Client(service.url) as client:
        for _ in range(3):
            client.predict(b"x")
    assert len(service.connections) == 1


def test_a_kept_connection_that_was_closed_meanwhile_is_replaced(service: Service, pauses: list[float]) -> None:
    service.answers = [(200, {"x-cut": "1"}, ANSWER)]
    with Client(service.url, retries=0) as client:
        for _ in range(3):
            assert client.predict(b"x") == [CAT]
    assert len(service.connections) == 3
    assert not pauses


def test_a_full_service_is_asked_again_as_late_as_it_wishes(service: Service, pauses: list[float]) -> None:
    dated = {"retry-after": formatdate(time.time() + 20, usegmt=True)}
    service.answers = [(429, {"retry-after": "2"}, {}), (503, {}, {}), (503, dated, {}), (200, {}, ANSWER)]
    with Client(service.url) as client:
        assert client.predict(b"x") == [CAT]
    assert 2 <= pauses[0] <= 2.5
    assert 15 <= pauses[2] <= 25
    assert len({headers["x-request-id"] for _, _, headers, _ in service.requests}) == 1


def test_pauses_grow_where_the_service_names_none(service: Service, pauses: list[float]) -> None:
    service.answers = [(503, {}, {"detail": "not ready"})]
    with Client(service.url) as client, pytest.raises(ClientError, match="503: not ready"):
        client.predict(b"x")
    assert len(service.requests) == 4
    assert [round(pause / first, 1) >= 1 for pause, first in zip(pauses, (0.1, 0.2, 0.4), strict=True)] == [True] * 3


def test_a_service_that_wants_minutes_is_not_waited_for(service: Service, pauses: list[float]) -> None:
    service.answers = [(429, {"retry-after": "600"}, {"detail": "later"})]
    with Client(service.url) as client, pytest.raises(ClientError, match="later"):
        client.predict(b"x")
    assert (len(service.requests), pauses) == (1, [])


def test_a_mistake_is_told_and_not_repeated(service: Service) -> None:
    service.answers = [(400, {}, {"detail": "the picture is broken", "status": 400})]
    with Client(service.url) as client, pytest.raises(ClientError) as caught:
        client.predict(b"x")
    assert (caught.value.status, caught.value.detail) == (400, "the picture is broken")
    assert caught.value.request_id == service.requests[0][2]["x-request-id"]
    assert len(service.requests) == 1


@pytest.mark.parametrize(("status", "value"), [(200, b"<html>"), (502, b"bad gateway"), (200, [1]), (200, {"a": 1})])
def test_another_service_is_recognised(service: Service, status: int, value: Any) -> None:
    service.answers = [(status, {}, value)]
    with Client(service.url) as client, pytest.raises(ClientError, match=r"answers"):
        client.predict(b"x")


def test_a_lost_connection_is_tried_again(service: Service, pauses: list[float]) -> None:
    service.answers = [(0, {}, b""), (0, {}, b""), (200, {}, ANSWER)]
    with Client(service.url) as client:
        assert client.predict(b"x") == [CAT]
    assert len(pauses) == 2


def test_feedback_counts_once(service: Service, pauses: list[float]) -> None:
    service.answers = [(200, {}, ANSWER), BUSY, (200, {}, {"recorded": 1}), (0, {}, b"")]
    with Client(service.url) as client:
        client.predict(b"x")
        assert client.feedback("r7", ["cat", None]) == {"recorded": 1}
        with pytest.raises(ClientError):
            client.feedback("r7", ["cat"])
    assert json.loads(service.requests[1][3]) == {"request_id": "r7", "labels": ["cat", None]}
    assert len(service.requests) == 4


def test_a_service_that_is_not_there_is_told_in_one_line(pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}", retries=2)
    with pytest.raises(ClientError, match="Connection refused") as caught:
        client.models()
    assert caught.value.status is None
    assert len(pauses) == 2
    assert not client.ready()


def test_a_silent_service_is_not_waited_for_twice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)
        with pytest.raises(ClientError, match=r"no answer within 0\.05 seconds"):
            client.metadata()


def test_models_metadata_and_readiness_are_asked(service: Service) -> None:
    service.answers = [(200, {}, {"models": []}), (200, {}, {"task": "x"}), (200, {}, {}), (503, {}, {})]
    with Client(f"{service.url}/behind/") as client:
        assert client.models() == {"models": []}
        assert client.metadata() == {"task": "x"}
        assert client.ready()
        assert not client.ready()
    paths = [f"/behind/{name}" for name in ("models", "metadata", "ready", "ready")]
    assert [request[1] for request in service.requests] == paths


@pytest.mark.parametrize("images", [[], 7, [np.zeros((2, 2, 1)), b"x"], np.zeros((2, 2, 1), np.float32)])
def test_what_is_no_picture_is_refused_before_anything_is_sent(images: Any) -> None:
    with pytest.raises(ValueError, match=r"picture|uint8"):
        Client("http://127.0.0.1:9").predict(images)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:port"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|[Pp]ort"):
        Client(url)


def test_the_file_alone_is_a_command(service: Service, tmp_path: Path) -> None:
    copied = tmp_path / "copied.py"
    copied.write_bytes(Path(client_file.__file__).read_bytes())
    (tmp_path / "cat.jpg").write_bytes(b"jpeg")
    command = [sys.executable, "-S", "-I", str(copied), service.url, str(tmp_path / "cat.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f" 90.0%  cat  {tmp_path / 'cat.jpg'}\n"
    command[-1] = str(tmp_path / "none.jpg")
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)


def test_any_status_of_success_is_one_and_none_beside_them() -> None:
    client = Client("http://127.0.0.1:1")
    for status in (200, 299):
        assert client._read(status, b'{"a": 1}', "r") == {"a": 1}
    for status in (199, 300, 301, 404):
        with pytest.raises(ClientError) as caught:
            client._read(status, b'{"detail": "no"}', "r")
        assert (caught.value.status, caught.value.detail, caught.value.request_id) == (status, "no", "r")
    with pytest.raises(ClientError, match="answers Not Found, and not in JSON"):
        client._read(404, b"<html>", "r")
    with pytest.raises(ClientError, match="answers an unknown status"):
        client._read(799, b"[]", "r")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), ("0", 0.0), ("7", 7.0), ("soon", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("-3", None)],
)
def test_a_service_says_when_to_come_back_as_a_number_or_a_date(text: str | None, seconds: float | None) -> None:
    headers = HTTPMessage()
    if text is not None:
        headers["retry-after"] = text
    assert client_file._retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("prediction", "line"),
    [
        (CAT, " 90.0%  cat  a.jpg"),
        ({"class": "dog", "confidence": 1.0}, "100.0%  dog  a.jpg"),
        ({"labels": ["cat", "dog"], "probabilities": {}}, "cat|dog  a.jpg"),
        ({"labels": [], "probabilities": {}}, "(none)  a.jpg"),
        ({"values": {"price": 12.345678, "age": 3}}, "price=12.346|age=3  a.jpg"),
    ],
)
def test_a_line_says_how_sure_what_and_which_file(prediction: dict[str, Any], line: str) -> None:
    assert client_file._line(prediction, "a.jpg") == line


def test_the_command_ends_with_0_or_2(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"bytes")
    for words, status, out, err in (
        ([service.url, str(tmp_path / "cat.jpg")], 0, f" 90.0%  cat  {tmp_path / 'cat.jpg'}\n", ""),
        ([service.url, str(tmp_path / "none.jpg")], 2, "", "error: "),
        ([service.url], 2, "", "usage: "),
        (["ftp://x", "a"], 2, "", "error: "),
    ):
        monkeypatch.setattr(sys, "argv", ["client.py", *words])
        assert client_file.main() == status
        said = capsys.readouterr()
        assert said.out == out and said.err.startswith(err) and bool(said.err) == bool(err)
