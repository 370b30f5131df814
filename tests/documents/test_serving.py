"""The commands that the documents show about serving are typed, block by block, against services that really run.

In a block, `python scripts/serve.py` starts a service, and the lines behind it talk to that one; a block that starts
none talks to one of `bundle=latest`. Every line has to end with exit status 0, curl's also by HTTP's status, and each
service has to end with 0 when it is told to.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundles import make_bundle

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "docs/serving.md", "docs/experiments_and_drift.md")
START = "python scripts/serve.py"
ADDRESS = "127.0.0.1:8000"
LATEST = f"{START} bundle=latest\n"

# Bash that starts a service in the background, reads its words until it listens, and ends it.
TYPED = """
set -euo pipefail
service=
end() { [ -z "$service" ] || { kill -TERM $service; wait $service; service=; }; }
trap '[ -z "$service" ] || kill $service' EXIT
serve() {
    end
    coproc WORDS { exec python scripts/serve.py "$@" serve.port=$PORT 2>>service.log; }
    service=$WORDS_PID
    until [[ $line == "serving http://"* ]]; do read -r line <&"${WORDS[0]}"; done
    line=
}
curl() { command curl --silent --show-error --fail-with-body --max-time 20 "$@"; }
line=
"""


def blocks() -> list[tuple[str, str]]:
    """Each bash block that is about a service, with the name of its document."""
    found = []
    for name in DOCUMENTS:
        text = (ROOT / name).read_text(encoding="utf-8")
        every = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        found += [(name, block) for block in every if START in block or ADDRESS in block]
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Bundles a, b and latest, and what the documents send: pictures, a .npy, raw bytes."""
    for name, version, folder in (("a", "1", "a"), ("b", "2", "b"), ("latest", "3", "outputs/own/latest/bundle")):
        (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
        make_bundle(tmp_path / folder, name=name, version=version)
    draw = np.random.default_rng(0)
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    for place in ("cat.jpg", "dog.jpg", "photos/cat/001.jpg"):
        Image.fromarray(draw.integers(0, 256, (40, 48, 3), np.uint8)).save(tmp_path / place)
    images = draw.integers(0, 256, (2, 8, 8, 1), np.uint8)
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "images.raw").write_bytes(images.tobytes())
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    return tmp_path


@pytest.mark.parametrize(
    "block", [pytest.param(block, id=f"{name}-{number}") for number, (name, block) in enumerate(blocks())]
)
def test_what_a_document_types_to_a_service_works(block: str, here: Path) -> None:
    port = free_port()
    lines = block if START in block else LATEST + block
    lines = lines.replace(START, "serve").replace(ADDRESS, f"127.0.0.1:{port}")
    lines = lines.replace('"label": "cat"', '"label": "class_0"')  # the tiny bundles know no cats
    script = f"PORT={port}\n{TYPED}\n{lines}\nend\n"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    typed = subprocess.run(
        ["bash", "-c", script], cwd=here, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=120
    )
    log = here / "service.log"
    told = log.read_text() if log.exists() else ""
    assert typed.returncode == 0, f"{typed.stdout}\n{typed.stderr}\n{told}"
    assert '"predictions"' in typed.stdout or "curl" not in block or "/predict" not in block
    assert "Traceback" not in typed.stderr + told


def test_each_document_starts_a_service() -> None:
    assert {name for name, block in blocks() if START in block} == set(DOCUMENTS)
