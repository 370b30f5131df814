"""Two small models behind one address, and traffic of every kind: after it each series of /metrics exists."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tiny_bundles import make_bundle

from mlstack.bundle.folder import read_bundle, seal, write_bundle
from mlstack.bundle.reference import light_of, read_reference, write_reference
from mlstack.bundle.session import Session
from mlstack.serving.keys import add_key

SCRIPT = Path(__file__).parents[2] / "scripts" / "serve.py"
ROWS = "application/octet-stream"
REFERENCE = 200  # pictures: with fewer than 30 nothing is ever found to drift
SETTINGS = (
    "serve.canary=canary",
    "serve.drift.window=50",
    "serve.drift.every=10",
    "serve.queue_images=64",
    "serve.journal.fraction=1",
    "serve.reload_s=0",
    "serve.alerts.window_s=5",
)


def noise(count: int, seed: int = 0) -> bytes:
    """Pictures like those of the reference, uint8 [count, 8, 8, 1]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8).tobytes()


DARK = bytes(8 * 64)  # 8 pictures that look like none of the reference
WHITE = b"\xff" * 64  # the picture at which the models fail


def write_model(folder: Path, *, version: str = "1", seed: int = 0) -> Path:
    """A bundle whose model fails at a white picture, with a reference that is large enough for drift."""
    plain = make_bundle(folder.parent / "plain" / f"{folder.name}-{version}", version=version, seed=seed)
    with write_bundle(folder) as staging:
        shutil.copytree(plain.path, staging, dirs_exist_ok=True)
        _fail_at_white(staging / "model.onnx")
        images = np.frombuffer(noise(REFERENCE, seed=1), np.uint8).reshape(-1, 8, 8, 1)
        answers, (brightness, contrast) = Session(staging / "model.onnx").run(images), light_of(images)
        reference = replace(
            read_reference(staging / "reference.npz", plain.metadata),
            outputs=answers.output,
            features=answers.features.astype(np.float16),
            brightness=brightness,
            contrast=contrast,
        )
        write_reference(staging / "reference.npz", reference)
        seal(staging, plain.metadata)
    return read_bundle(folder).path


def _fail_at_white(path: Path) -> None:
    """Have a network look up its darkest pixel in a table that has no place for 255."""
    model = onnx.load(path)
    graph = model.graph
    graph.node[-1].output[0] = "sure"
    graph.initializer.append(numpy_helper.from_array(np.zeros((255, 1), np.float32), "table"))
    graph.initializer.append(numpy_helper.from_array(np.array([1, 2, 3]), "pixels_of_one"))
    graph.node.extend(
        [
            helper.make_node("Cast", ["images"], ["whole"], to=TensorProto.INT64),
            helper.make_node("ReduceMin", ["whole", "pixels_of_one"], ["darkest"], keepdims=0),
            helper.make_node("Gather", ["table", "darkest"], ["nothing"]),
            helper.make_node("Add", ["sure", "nothing"], ["probabilities"]),
        ]
    )
    onnx.save(model, path)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


@dataclass
class Replica:
    """A service in a process of its own that can be stopped and started again at the same address.

    Args:
        folder: For its bundles `stable` and `canary`, keys, journal and log.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    key: str = ""
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        for seed, name in enumerate(("stable", "canary")):
            write_model(self.folder / name, seed=seed)
        self.key = add_key(self.folder / "keys.txt", "everything", admin=True)

    def start(self) -> None:
        """Returns once it is ready."""
        words = [f"bundle=[{self.folder / 'stable'},{self.folder / 'canary'}]", *SETTINGS]
        words += [f"serve.api_keys_file={self.folder / 'keys.txt'}", f"serve.journal.folder={self.folder / 'journal'}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), *words, f"serve.port={self.port}"], stdout=log, stderr=log
            )
        end = time.monotonic() + 60
        while self.process.poll() is None and time.monotonic() < end:
            try:
                if self.ask("GET", "/ready")[0] == 200:
                    return
            except ConnectionError:
                time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self) -> None:
        """End it as an orchestrator does, and wait."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)
            self.process = None

    def ask(
        self, method: str, path: str, body: bytes | None = None, kind: str = ROWS, *, key: bool = True, **headers: str
    ) -> tuple[int, bytes]:
        """Status and body; `x_variant=…` stands for the header x-variant."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent["content-type"] = kind
        if key:
            sent["authorization"] = f"Bearer {self.key}"
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(self, path: str, value: Any) -> Any:
        """A value as JSON; what comes back, which has to be a 200."""
        status, body = self.ask("POST", path, json.dumps(value).encode(), "application/json")
        assert status == 200, body
        return json.loads(body)

    def metrics(self) -> str:
        status, body = self.ask("GET", "/metrics")
        assert status == 200, body
        return body.decode()


def answers_with_labels(replica: Replica, *, model: str, right: bool) -> None:
    """A prediction that is answered, and its true label."""
    status, body = replica.ask("POST", "/predict", DARK[:64], x_variant=model)
    assert status == 200, body
    answer = json.loads(body)
    said = answer["predictions"][0]["index"]
    label = f"class_{said if right else (said + 1) % 10}"
    replica.post("/feedback", {"request_id": answer["request_id"], "label": label})


def refused_for_room(replica: Replica) -> None:
    """More images at once than the queue holds, until some are turned away."""
    for _ in range(50):
        with ThreadPoolExecutor(8) as clients:
            statuses = set(clients.map(lambda seed: replica.ask("POST", "/predict", noise(64, seed))[0], range(16)))
        assert statuses <= {200, 429}
        if 429 in statuses:
            return
    raise AssertionError("16 requests of 64 images at once never filled a queue of 64")


def one_round(replica: Replica) -> None:
    """Every kind of request once, or a few times: drift, labels, failures, refusals."""
    for model in ("stable", "canary"):
        for _ in range(3):
            assert replica.ask("POST", "/predict", DARK, x_variant=model)[0] == 200
        answers_with_labels(replica, model=model, right=True)
        answers_with_labels(replica, model=model, right=False)
        assert replica.ask("POST", "/predict", WHITE, x_variant=model)[0] == 500
    assert replica.ask("POST", "/predict", WHITE, x_deadline_ms="0.001")[0] == 503
    assert replica.ask("POST", "/predict", b"{", "application/json")[0] == 400
    assert {replica.ask("POST", "/predict", DARK, key=False)[0] for _ in range(4)} == {401}
    assert replica.ask("GET", "/nowhere")[0] == 404
    refused_for_room(replica)


def roll_back(replica: Replica) -> None:
    """Give the canary a share, and take it away again."""
    replica.post("/admin/canary", {"action": "share", "percent": 40})
    replica.post("/admin/canary", {"action": "rollback"})


def refuse_a_model(replica: Replica) -> None:
    """Break the bundle of `stable`: the new one is refused and the old one served on."""
    (replica.folder / "stable" / "model.onnx").write_bytes(b"broken")
    (replica.folder / "stable" / "metadata.json").touch()  # what the service looks at
    [stable] = [one for one in replica.post("/admin/reload", {})["models"] if one["label"] == "stable"]
    assert stable["result"] == "refused"


def another_version(replica: Replica) -> None:
    """Serve version 2 of `stable`."""
    write_model(replica.folder / "stable", version="2", seed=3)
    results = replica.post("/admin/reload", {})["models"]
    assert "loaded" in [one["result"] for one in results]


class Traffic:
    """`one_round` after the other to each replica, in threads, until `leave`."""

    def __init__(self) -> None:
        self._clients = ThreadPoolExecutor(4)
        self._going: dict[int, tuple[threading.Event, Future[None]]] = {}

    def visit(self, replica: Replica) -> None:
        """Begin to ask a replica."""
        end = threading.Event()
        self._going[replica.port] = end, self._clients.submit(self._go, replica, end)

    def leave(self, replica: Replica) -> None:
        """Ask it no more; raises what went wrong while it was asked."""
        if (going := self._going.pop(replica.port, None)) is not None:
            going[0].set()
            going[1].result()

    @staticmethod
    def _go(replica: Replica, end: threading.Event) -> None:
        while not end.wait(0.2):
            one_round(replica)
