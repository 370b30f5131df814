"""What tests of containers share: an engine, and the images, each built once.

python -m pytest tests/containers          # as root on Debian, or where a container engine answers
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from engine import Docker, build_serve, build_train, running_engine


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """An engine; where none answers, one of our own."""
    with running_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def serve_image(docker: Docker) -> str:
    """The tag of the `serve` image, built from this checkout."""
    return build_serve(docker)


@pytest.fixture(scope="session")
def train_image(docker: Docker) -> str:
    """The tag of the `train` image, built from this checkout."""
    return build_train(docker)
