"""What deploy/kubernetes asks of the service, asked of a real one that is started with the manifest's arguments."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from rendered_kubernetes import Object, container_of, deployments, of_kind, only, rendered, words_of
from running_service import RunningService, running
from tiny_bundles import make_bundle

from mlstack.serving.keys import add_key

WAIT_S, PAUSE_S = 15.0, 0.2  # the service looks at its keys once a second
CLOSED = ("/admin/reload", "/metrics", "/status", "/drift", "/experiments", "/alerts", "/", "/docs")


class SecretVolume:
    """A folder as the kubelet keeps it: files are links through `..data`, which is swapped by one rename."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder, self._count = folder, 0
        folder.mkdir()
        self.put(text)
        (folder / "keys.txt").symlink_to("..data/keys.txt")

    def put(self, text: str) -> None:
        self._count += 1
        version = self.folder / f"..version_{self._count}"
        version.mkdir()
        (version / "keys.txt").write_text(text, encoding="utf-8")
        (self.folder / "..data_tmp").symlink_to(version.name)
        (self.folder / "..data_tmp").replace(self.folder / "..data")


@pytest.fixture(scope="module")
def manifest() -> tuple[Object, list[Object]]:
    """The Deployment of production and the objects around it."""
    objects = rendered("overlays/production")
    return only(objects, "Deployment"), objects


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> tuple[SecretVolume, str]:
    """The Secret of the README's first deployment, mounted, and its key."""
    folder = tmp_path_factory.mktemp("secret")
    key = add_key(folder / "keys.txt", "ops", admin=True)
    return SecretVolume(folder / "keys", (folder / "keys.txt").read_text(encoding="utf-8")), key


@pytest.fixture(scope="module")
def service(
    manifest: tuple[Object, list[Object]], volume: tuple[SecretVolume, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A service with the manifest's arguments; another port, and the mounts where this machine has them."""
    bundle = make_bundle(tmp_path_factory.mktemp("bundles") / "bundle").path
    words = [word.replace("=/keys/", f"={volume[0].folder}/") for word in words_of(*manifest)]
    with running(f"bundle={bundle}", "serve.host=127.0.0.1", *words) as started:
        yield started


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_each_probe_is_answered_without_a_key(
    service: RunningService, manifest: tuple[Object, list[Object]], probe: str
) -> None:
    container = container_of(manifest[0])
    assert container[probe]["httpGet"]["port"] in [port["name"] for port in container["ports"]]
    assert service.get(container[probe]["httpGet"]["path"]).status == 200


def test_liveness_and_readiness_ask_different_questions(manifest: tuple[Object, list[Object]]) -> None:
    container = container_of(manifest[0])
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["readinessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/ready"


def way_in(objects: list[Object]) -> dict[str, str]:
    """The addresses that an Ingress, or the route's last rule, lets through, each with its kind of match."""
    for ingress in of_kind(objects, "Ingress"):
        (rule,) = ingress["spec"]["rules"]
        return {one["path"]: one["pathType"] for one in rule["http"]["paths"]}
    (route,) = of_kind(objects, "HTTPRoute")
    kinds = {"PathPrefix": "Prefix"}
    return {
        one["path"]["value"]: kinds.get(one["path"]["type"], one["path"]["type"])
        for one in route["spec"]["rules"][-1]["matches"]
    }


@pytest.mark.parametrize("name", ["overlays/production", "overlays/canary"])
def test_the_edge_lets_through_what_the_service_answers_and_nothing_of_its_inside(
    service: RunningService, volume: tuple[SecretVolume, str], name: str
) -> None:
    open_paths = way_in(rendered(name))
    known = service.get("/metadata", x_api_key=volume[1]).json["name"]
    for path, kind in open_paths.items():
        whole = f"/v1/models/{known}/predict" if path == "/v1" else path
        assert whole.startswith(path if kind == "Exact" else f"{path}/") or whole == path
        assert service.get(whole, x_api_key=volume[1]).status in (200, 405), path
        assert service.ask("POST", whole, b"", content_type="image/jpeg").status in (401, 405), path
    assert not {path for path in CLOSED for start in open_paths if path == start or path.startswith(f"{start}/")}


def test_prometheus_is_sent_to_where_the_metrics_are(
    service: RunningService, volume: tuple[SecretVolume, str], manifest: tuple[Object, list[Object]]
) -> None:
    notes = manifest[0]["spec"]["template"]["metadata"]["annotations"]
    assert int(notes["prometheus.io/port"]) == container_of(manifest[0])["ports"][0]["containerPort"]
    assert service.get(notes["prometheus.io/path"]).status == 401
    assert b"service_ready 1" in service.get(notes["prometheus.io/path"], x_api_key=volume[1]).body


def test_the_edge_and_the_service_agree_about_bodies_and_time() -> None:
    for _, deployment, objects in deployments():
        words = dict(word.split("=", 1) for word in words_of(deployment, objects))
        deadline = float(words["serve.deadline_ms"]) / 1000
        for ingress in of_kind(objects, "Ingress"):
            notes = {name.rsplit("/", 1)[1]: value for name, value in ingress["metadata"]["annotations"].items()}
            assert notes["proxy-body-size"] == f"{words['serve.max_body_mb']}m"
            assert float(notes["proxy-read-timeout"]) > deadline
        for route in of_kind(objects, "HTTPRoute"):
            assert all(
                float(rule["timeouts"]["request"].removesuffix("s")) > deadline for rule in route["spec"]["rules"]
            )


def test_the_weights_are_shares_of_services_that_are_there() -> None:
    objects = rendered("overlays/canary")
    (route,) = of_kind(objects, "HTTPRoute")
    for rule in route["spec"]["rules"]:
        for backend in rule["backendRefs"]:
            ports = only(objects, "Service", backend["name"])["spec"]["ports"]
            assert backend["port"] in [port["port"] for port in ports]
    assert sum(backend["weight"] for backend in route["spec"]["rules"][-1]["backendRefs"]) == 100
    ingress = way_in(rendered("overlays/production"))
    assert way_in(objects) == ingress


def test_a_key_that_the_secret_gains_counts_without_a_restart(
    service: RunningService, volume: tuple[SecretVolume, str], tmp_path: Path
) -> None:
    kept = (volume[0].folder / "keys.txt").read_text(encoding="utf-8")
    (tmp_path / "keys.txt").write_text(kept, encoding="utf-8")
    alice = add_key(tmp_path / "keys.txt", "alice", admin=False)
    assert service.get("/metadata", x_api_key=alice).status == 401
    volume[0].put((tmp_path / "keys.txt").read_text(encoding="utf-8"))
    wait = WAIT_S / PAUSE_S
    while service.get("/metadata", x_api_key=alice).status == 401 and (wait := wait - 1) > 0:
        time.sleep(PAUSE_S)
    assert service.get("/metadata", x_api_key=alice).status == 200
    assert service.get("/metadata", x_api_key=volume[1]).status == 200
