"""Environments of the peers, each of its own, and how each peer is started.

    python benchmarks/serving/peers.py                      # make all of them, some minutes
    python benchmarks/serving/peers.py litserve naive --folder /tmp/peers

They lie in ~/.cache/mlstack-peers unless `--folder` says otherwise; a folder may be deleted at any time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
APPS = HERE / "peers"
FOLDER = Path.home() / ".cache" / "mlstack-peers"
COMMON = ("onnxruntime==1.31.1", "pillow==13.0.0")
NUMPY = "numpy==2.4.6"


@dataclass(frozen=True)
class Peer:
    """How one of them is installed and started.

    Attributes:
        environment: Name of its environment; several may share one.
        packages: Pinned.
        command: `{bin}` is the environment's, `{port}` the port to listen on.
        settings: Further environment variables.
        ready: Address that answers 200 once requests are taken.
        rows: Address that takes rows as JSON.
        rows_protocol: "plain" = {"inputs": [image]}, "v2" = a tensor of the open inference protocol.
        upload: Address that takes a photograph as multipart; None = it takes none.
        field: Name of the multipart field.
    """

    environment: str
    packages: tuple[str, ...]
    command: tuple[str, ...]
    ready: str
    settings: Mapping[str, str] = field(default_factory=dict)
    rows: str = "/predict"
    rows_protocol: str = "plain"
    upload: str | None = "/predict_image"
    field: str = "file"


LITSERVE = ("litserve==0.2.19", NUMPY, "python-multipart==0.0.32")
PEERS: dict[str, Peer] = {
    "naive": Peer(
        "naive",
        ("fastapi==0.163.2", "uvicorn[standard]==0.54.0", NUMPY, "python-multipart==0.0.32"),
        ("{bin}/uvicorn", "naive:app", "--port", "{port}", "--log-level", "warning"),
        "/openapi.json",
    ),
    "litserve": Peer(
        "litserve", LITSERVE, ("{bin}/python", "litserve_app.py"), "/health", {"WORKERS": "1"}, upload="/predict"
    ),
    "litserve2": Peer(
        "litserve", LITSERVE, ("{bin}/python", "litserve_app.py"), "/health", {"WORKERS": "2"}, upload="/predict"
    ),
    "bentoml": Peer(
        "bentoml",
        ("bentoml==1.4.36", NUMPY),
        ("{bin}/bentoml", "serve", "bentoml_app:Classifier", "--port", "{port}"),
        "/readyz",
        {"BENTOML_DO_NOT_TRACK": "True"},
    ),
    "mlserver": Peer(
        "mlserver",
        ("mlserver==1.7.1", "uvloop==0.21.0"),
        ("{bin}/mlserver", "start", "mlserver_model"),
        "/v2/models/classifier/ready",
        rows="/v2/models/classifier/infer",
        rows_protocol="v2",
        upload=None,
    ),
}


def environment(peer: Peer, folder: Path = FOLDER) -> Path:
    """The folder of a peer's environment, whether or not it is there."""
    return folder / peer.environment


def is_installed(peer: Peer, folder: Path = FOLDER) -> bool:
    """Whether its environment was made, and with these very packages."""
    mark = environment(peer, folder) / "packages.txt"
    return mark.is_file() and mark.read_text().split() == [*COMMON, *peer.packages]


def install(peer: Peer, folder: Path = FOLDER) -> None:
    """Make its environment anew."""
    place = environment(peer, folder)
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    packages = [*COMMON, *peer.packages]
    subprocess.run([str(place / "bin" / "pip"), "install", "--quiet", *packages], check=True)
    (place / "packages.txt").write_text("\n".join(packages))


def start(peer: Peer, *, model: Path, port: int, folder: Path = FOLDER) -> subprocess.Popen[bytes]:
    """Start a peer in a process group of its own; nothing of what it prints is shown.

    Args:
        peer: Which one.
        model: The ONNX file.
        port: To listen on.
        folder: Of the environments.
    """
    place = environment(peer, folder) / "bin"
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
    log = (folder / f"{peer.environment}.log").open("wb")
    with log:
        return subprocess.Popen(
            command, cwd=APPS, env=settings, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )


def megabytes(folder: Path) -> float:
    """What a folder weighs on the disk."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


def main() -> None:
    """Make the environments that are asked for and missing."""
    parser = argparse.ArgumentParser(description="Make the peers' environments.")
    parser.add_argument("names", nargs="*", default=list(PEERS), help=", ".join(PEERS))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args()
    for name in given.names:
        peer = PEERS[name]
        if not is_installed(peer, given.folder):
            install(peer, given.folder)
        print(f"{name:10} {megabytes(environment(peer, given.folder)):6.0f} MB  {', '.join(peer.packages)}", flush=True)


if __name__ == "__main__":
    main()
