from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from compose_project import DEPLOY, REPLICAS, ComposeProject, compose_program, running_project
from engine import Docker
from tiny_bundles import make_bundle

from mlstack.config.serving import ServeSettings

PICTURES = np.random.default_rng(1).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)
LIMIT = int(ServeSettings().max_body_mb * 10**6)
BYTES = "application/octet-stream"
PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def project(docker: Docker, serve_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeProject]:
    folder = tmp_path_factory.mktemp("compose")
    make_bundle(folder / "bundle")
    with running_project(
        docker, serve_image, folder / "bundle", name="mltest-compose", subnet="10.213.48", folder=folder
    ) as project:
        yield project


def predict(
    project: ComposeProject, place: int = 0, *, replica: str | None = None, **headers: str
) -> dict[str, object]:
    answer = project.ask("POST", "/predict", PICTURES[place].tobytes(), replica=replica, content_type=BYTES, **headers)
    assert answer.status == 200, answer.body
    return dict(answer.json)


def access_log(project: ComposeProject) -> list[dict[str, object]]:
    """nginx's line for each request so far; each is JSON."""
    lines = project.compose("logs", "--no-log-prefix", "nginx").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.mark.parametrize("profiles", [(), ("monitoring",), ("train",), ("gpu",), ("monitoring", "train", "gpu")])
@pytest.mark.parametrize("keys", [False, True])
def test_compose_accepts_the_file_with_every_profile(profiles: tuple[str, ...], keys: bool, tmp_path: Path) -> None:
    files = ["docker-compose.yml", *(["docker-compose.keys.yml"] if keys else [])]
    words = [word for file in files for word in ("-f", str(DEPLOY / file))]
    words += [word for profile in profiles for word in ("--profile", profile)]
    environment = {"KEYS": str(tmp_path), "PATH": ""}
    said = subprocess.run([compose_program(), *words, "config", "-q"], capture_output=True, text=True, env=environment)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


def test_only_this_machine_reaches_the_ports_and_only_nginx_and_the_monitors_have_one() -> None:
    services = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())["services"]
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(ports) == {"nginx", "prometheus", "grafana"}
    assert all(len(one) == 1 and "127.0.0.1:" in one[0] for one in ports.values())


def test_answers_through_nginx_are_those_of_a_replica(project: ComposeProject) -> None:
    for place in range(len(PICTURES)):
        here, there = predict(project, place), predict(project, place, replica="serve-2")
        assert here["predictions"] == there["predictions"]


def test_both_replicas_get_traffic(project: ComposeProject) -> None:
    before = {one: project.answered(one) for one in REPLICAS}
    for place in range(20):
        predict(project, place % 16)
    assert all(project.answered(one) - before[one] >= 5 for one in REPLICAS)


def test_a_request_keeps_its_name_and_gets_one_where_it_has_none(project: ComposeProject) -> None:
    assert predict(project, x_request_id="visit-17")["request_id"] == "visit-17"
    for name in ("two words", "x" * 129, "ä".encode().decode("latin-1")):
        given = predict(project, x_request_id=name)["request_id"]
        assert isinstance(given, str) and len(given) == 32
    named = [line["request_id"] for line in access_log(project)]
    assert "visit-17" in named and "two words" not in named


def test_metrics_and_administration_are_closed_to_the_outside(project: ComposeProject) -> None:
    metrics = ("/metrics", "/metrics?x=1", "//metrics", "/%6detrics", "/x/../metrics")
    admin = ("/admin", "/admin/reload", "/./admin/canary", "/%61dmin/reload", "//admin/reload", "/x/../admin/reload")
    for method, path in [*(("GET", path) for path in metrics), *(("POST", path) for path in admin)]:
        answer = project.ask(method, path)
        assert answer.status == 403, path
        assert answer.headers["content-type"] == PROBLEM
        assert answer.json["detail"] == "this address is not open to the outside"
        assert answer.json["request_id"] == answer.headers["x-request-id"]


def test_what_nginx_takes_for_open_no_replica_takes_for_administration(project: ComposeProject) -> None:
    for path in ("/%2561dmin/reload", "/admin%2freload%00", "/Admin/reload", "/admin;/reload", "/adminx", "/metrics/"):
        assert project.ask("POST", path).status in (400, 403, 404), path


@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_still_sends_a_body_over_the_limit_can_read_why_it_is_refused(
    project: ComposeProject, chunked: bool
) -> None:
    def pieces(count: int) -> Iterator[bytes]:
        yield from (bytes(10**6) for _ in range(count))

    connection = http.client.HTTPConnection("127.0.0.1", project.port, timeout=30)
    try:
        length = {"transfer-encoding": "chunked"} if chunked else {"content-length": str(40 * 10**6)}
        connection.request("POST", "/predict", pieces(40), {"content-type": BYTES, **length}, encode_chunked=chunked)
        answer = connection.getresponse()
        problem = json.loads(answer.read())
    finally:
        connection.close()
    assert (answer.status, answer.headers["content-type"]) == (413, PROBLEM)
    assert (problem["status"], problem["title"]) == (413, "Request Entity Too Large")
    assert problem["detail"] == f"a request may have {LIMIT} bytes"


def test_a_body_at_the_limit_reaches_the_service_and_one_byte_more_does_not(project: ComposeProject) -> None:
    at, above = (project.ask("POST", "/predict", bytes(size), content_type=BYTES) for size in (LIMIT, LIMIT + 1))
    assert "image" in at.json["detail"] and at.status in (400, 413)
    assert above.status == 413 and above.json["detail"] == f"a request may have {LIMIT} bytes"


def test_a_head_that_is_too_large_is_refused_as_the_service_would(project: ComposeProject) -> None:
    assert project.ask("GET", "/" + "x" * 9000).status == 414
    assert project.ask("GET", "/ready", x_much="x" * 9000).status == 431


def test_feedback_finds_the_replica_that_gave_the_answer(project: ComposeProject) -> None:
    names = [f"seen-{number}" for number in range(12)]
    for name in names:
        predict(project, x_request_id=name)
    for name in names:
        body = json.dumps({"request_id": name, "label": "class_1"}).encode()
        answer = project.ask("POST", "/feedback", body, content_type="application/json")
        assert (answer.status, answer.json["right"] + answer.json["wrong"]) == (200, 1)
        again = project.ask("POST", "/feedback", body, content_type="application/json")
        assert (again.status, again.json["right"] + again.json["wrong"]) == (200, 0)
    unknown = project.ask("POST", "/feedback", b'{"request_id": "nobody", "label": "class_1"}')
    assert (unknown.status, unknown.headers["content-type"]) == (404, PROBLEM)


def test_one_client_sees_the_figures_of_one_replica(project: ComposeProject) -> None:
    assert [project.ask("GET", "/status").status for _ in range(6)] == [200] * 6
    asked = [line["replicas"] for line in access_log(project) if line["path"] == "/status"]
    assert len(asked) == 6 and len(set(asked)) == 1


def test_deadlines_that_a_client_sets_itself_take_no_replica_from_the_others(project: ComposeProject) -> None:
    for _ in range(10):
        late = project.ask("POST", "/predict", PICTURES[0].tobytes(), content_type=BYTES, x_deadline_ms="0.0001")
        assert late.status == 503
        assert late.headers["content-type"] == PROBLEM and late.headers["retry-after"] == "1"
        predict(project)


def test_everything_runs_without_rights_and_ends_in_order(project: ComposeProject) -> None:
    for service in (*REPLICAS, "nginx"):
        facts = project.inspect(service)
        host, config = facts["HostConfig"], facts["Config"]
        assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["Privileged"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert int(config["User"].partition(":")[0]) > 0
        assert 0 < host["Memory"] <= 2**30 and host["Memory"] == host["MemorySwap"]
        assert host["NanoCpus"] == 10**9 and host["PidsLimit"] > 0
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert config["StopTimeout"] > ServeSettings().drain_s
        assert facts["State"]["Health"]["Status"] == "healthy"


def test_replicas_reach_nobody_outside(project: ComposeProject) -> None:
    network = json.loads(project.docker.run("network", "inspect", f"{project.name}_replicas"))[0]
    assert network["Internal"] is True
    assert set(project.inspect("serve-1")["NetworkSettings"]["Networks"]) == {f"{project.name}_replicas"}


def test_nginx_starts_and_serves_while_a_replica_is_gone(project: ComposeProject) -> None:
    project.compose("rm", "--stop", "--force", "serve-1")
    project.compose("up", "--detach", "--no-build", "--no-deps", "--force-recreate", "--wait", "nginx")
    for place in range(8):
        predict(project, place)
    project.compose("up", "--detach", "--no-build", "--wait")
    before = project.answered("serve-1")
    while project.answered("serve-1") == before:  # at another address it would never get a request
        predict(project)
