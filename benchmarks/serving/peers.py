"""How each peer is started. What their environments hold stands in requirements-oracles.txt."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests" / "own_code"))

from oracles import environment, prepare

APPS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Peer:
    """How one of them is started.

    Attributes:
        environment: Name of its environment; several may share one.
        command: `{bin}` is the environment's, `{port}` the port to listen on.
        settings: Further environment variables.
        ready: Address that answers 200 once requests are taken.
        rows: Address that takes rows as JSON.
        rows_protocol: "plain" = {"inputs": [image]}, "v2" = a tensor of the open inference protocol.
        upload: Address that takes a photograph as multipart; None = it takes none.
        field: Name of the multipart field.
    """

    environment: str
    command: tuple[str, ...]
    ready: str
    settings: Mapping[str, str] = field(default_factory=dict)
    rows: str = "/predict"
    rows_protocol: str = "plain"
    upload: str | None = "/predict_image"
    field: str = "file"


PEERS: dict[str, Peer] = {
    "naive": Peer(
        "naive", ("{bin}/uvicorn", "naive:app", "--port", "{port}", "--log-level", "warning"), "/openapi.json"
    ),
    "litserve": Peer("litserve", ("{bin}/python", "litserve_app.py"), "/health", {"WORKERS": "1"}, upload="/predict"),
    "litserve2": Peer("litserve", ("{bin}/python", "litserve_app.py"), "/health", {"WORKERS": "2"}, upload="/predict"),
    "bentoml": Peer(
        "bentoml",
        ("{bin}/bentoml", "serve", "bentoml_app:Classifier", "--port", "{port}"),
        "/readyz",
        {"BENTOML_DO_NOT_TRACK": "True"},
    ),
    "mlserver": Peer(
        "mlserver",
        ("{bin}/mlserver", "start", "mlserver_model"),
        "/v2/models/classifier/ready",
        rows="/v2/models/classifier/infer",
        rows_protocol="v2",
        upload=None,
    ),
}


def install(names: Iterable[str]) -> None:
    """Make the environments of these peers where they are missing, or end the program with one message."""
    prepare(*(PEERS[name].environment for name in names))


def start(peer: Peer, *, model: Path, port: int) -> subprocess.Popen[bytes]:
    """Start a peer in a process group of its own; nothing of what it prints is shown.

    Args:
        peer: Which one.
        model: The ONNX file.
        port: To listen on.
    """
    home = environment(peer.environment)
    place = home / "bin"
    command = [word.format(bin=place, port=port) for word in peer.command]
    settings = {
        **os.environ,
        "PATH": f"{place}:{os.environ['PATH']}",
        "MODEL": str(model),
        "PORT": str(port),
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(port + 1),
        "MLSERVER_METRICS_PORT": str(port + 2),
        "OMP_NUM_THREADS": "1",
        **peer.settings,
    }
    log = home.with_name(f"{peer.environment}.log").open("wb")
    with log:
        return subprocess.Popen(
            command, cwd=APPS, env=settings, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
