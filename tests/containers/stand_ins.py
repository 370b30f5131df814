"""Images that tests put in the place of official ones where no registry can be reached: the same programs, from Debian.

No stand-in gets an official name, so that an engine which somebody else uses never takes it for the real thing:
docker-compose.yml takes other names from NGINX_IMAGE and PROMETHEUS_IMAGE. What Debian bookworm has: nginx 1.22,
Prometheus 2.42. Grafana isn't in Debian.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from engine import Docker

COMPOSE_FILE = Path(__file__).parents[2] / "deploy" / "docker-compose.yml"
# curl is in the official image of nginx too, and asks for its health there.
NGINX = "RUN apt-get update && apt-get install -y --no-install-recommends nginx curl"
# Unpacked only: installed, it would bring a web server's worth of scripts, and it needs nothing but the C library.
PROMETHEUS = """RUN apt-get update && cd /tmp && apt-get download prometheus && dpkg-deb -x prometheus_*.deb /opt \\
    && install -d -o 65534 -g 65534 /prometheus
USER 65534:65534
ENTRYPOINT ["/opt/usr/bin/prometheus"]"""


def nginx(docker: Docker) -> str:
    """The name of an image with nginx and curl: the pinned official one where the engine has it."""
    return _official(docker, "NGINX_IMAGE") or _build(docker, "mltest-nginx:debian", NGINX)


def prometheus(docker: Docker) -> str:
    """The name of an image whose entry point is Prometheus: the pinned official one where the engine has it."""
    return _official(docker, "PROMETHEUS_IMAGE") or _build(docker, "mltest-prometheus:debian", PROMETHEUS)


def _official(docker: Docker, variable: str) -> str:
    """The name that docker-compose.yml pins, where this engine has such an image; else nothing."""
    match = re.search(rf"\$\{{{variable}:-([^}}]+)\}}", COMPOSE_FILE.read_text())
    assert match, variable
    return match[1] if docker.has_image(match[1]) else ""


def _build(docker: Docker, tag: str, lines: str) -> str:
    with TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(f"FROM {docker.base}\n{lines}\n")
        docker.build("", tag, dockerfile="Dockerfile", context=Path(folder))
    return tag
