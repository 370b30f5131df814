"""An alert of the shipped rules, in the shipped Compose file, with the shipped times: minutes, most of them waiting."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest
import stand_ins
from compose_project import REPLICAS, ComposeProject, running_project
from engine import Docker
from tiny_bundles import make_bundle

PATIENCE = 150.0  # seconds: two scrapes, one minute of `for`, and a busy machine
FIRING = 'ALERTS{alertname="ReplicaDown", alertstate="firing"}'


class Prometheus:
    """The one of a project, asked from outside."""

    def __init__(self, project: ComposeProject) -> None:
        self._address = project.compose("port", "prometheus", "9090").strip()

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series of a query, each with its labels and its newest value."""
        with urllib.request.urlopen(f"http://{self._address}/api/v1/query?query={quote(query)}", timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result


def wait_for(what: str, is_so: Callable[[], bool]) -> None:
    """Until something is so; an assertion that names it, when it takes too long."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(1)


@pytest.fixture(scope="module")
def project(docker: Docker, serve_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeProject]:
    folder = tmp_path_factory.mktemp("alerts")
    make_bundle(folder / "bundle")
    with running_project(
        docker, serve_image, folder / "bundle", name="mltest-alerts", subnet="10.213.50", folder=folder
    ) as project:
        project.environment |= {"PROMETHEUS_IMAGE": stand_ins.prometheus(docker), "PROMETHEUS_PORT": ""}
        project.compose("--profile", "monitoring", "up", "--detach", "--no-build", "--wait", "prometheus")
        yield project


def test_an_alert_fires_while_a_replica_is_stopped_and_ends_with_it(project: ComposeProject) -> None:
    prometheus = Prometheus(project)
    wait_for("both replicas are read", lambda: len(prometheus.ask('up{job="serve"} == 1')) == len(REPLICAS))
    assert prometheus.ask(FIRING) == []
    project.compose("stop", "serve-2")
    wait_for("ReplicaDown fires", lambda: prometheus.ask(FIRING) != [])
    [alert] = prometheus.ask(FIRING)
    assert (alert["metric"]["instance"], alert["metric"]["severity"]) == ("serve-2:8000", "warning")
    project.compose("start", "serve-2")
    wait_for("ReplicaDown ends", lambda: prometheus.ask(FIRING) == [])
