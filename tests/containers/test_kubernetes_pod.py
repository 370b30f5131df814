"""The image under the terms of the pod in deploy/kubernetes, as far as an engine without a cluster can set them.

The image is made by the two lines of deploy/kubernetes/README.md; user, rights, limits, arguments and mounts are read
from the rendered Deployment of production.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import io
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine import Docker
from PIL import Image
from rendered_kubernetes import KUBERNETES, container_of, only, pod_of, rendered, words_of
from tiny_bundles import make_bundle

from mlstack.serving.keys import add_key

NAME, TAG = "mltest-kubernetes-pod", "mltest-kubernetes-model:latest"
OBJECTS = rendered("overlays/production")
DEPLOYMENT = only(OBJECTS, "Deployment")
CONTAINER = container_of(DEPLOYMENT)


@dataclass
class Pod:
    """The container and the key of its administrator."""

    docker: Docker
    port: int
    key: str

    def ask(self, method: str, path: str, body: bytes | None = None, key: str | None = None) -> tuple[int, bytes]:
        """One request; its status and body. Without `key` the administrator's."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"content-type": "image/png", "x-api-key": self.key if key is None else key}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def passes(self, probe: str) -> bool:
        """Whether a probe of the manifest is answered, as the kubelet asks it: without a key."""
        try:
            return self.ask("GET", CONTAINER[probe]["httpGet"]["path"], key="")[0] == 200
        except (OSError, http.client.HTTPException):  # not listening yet: what stands in between hangs up
            return False

    def state(self) -> dict[str, object]:
        return dict(json.loads(self.docker.run("inspect", "--format", "{{json .State}}", NAME)))


def terms(keys: Path) -> list[str]:
    """The words of `docker run` for the pod. The default seccomp profile of the engine is in force without a word."""
    pod, rights, limits = pod_of(DEPLOYMENT), CONTAINER["securityContext"], CONTAINER["resources"]["limits"]
    whole = pod["securityContext"]
    words = ["--user", f"{whole['runAsUser']}:{whole['runAsGroup']}", "--group-add", str(keys.stat().st_gid)]
    words += ["--cpus", limits["cpu"], "--memory", limits["memory"].lower().removesuffix("i")]
    words += ["--memory-swap", limits["memory"].lower().removesuffix("i")]
    words += ["--read-only"] * rights["readOnlyRootFilesystem"]
    words += [] if rights["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]
    words += [word for name in rights["capabilities"]["drop"] for word in ("--cap-drop", name)]
    places = {one["name"]: one["mountPath"] for one in CONTAINER["volumeMounts"]}
    words += ["--volume", f"{keys}:{places['keys']}:ro", "--tmpfs", f"{places['data']}:uid={whole['fsGroup']}"]
    return [*words, "--publish", f"127.0.0.1::{CONTAINER['ports'][0]['containerPort']}"]


def image_of_the_readme(docker: Docker, serve_image: str, folder: Path) -> None:
    """Build the two lines of the README on the image under test, with a small bundle."""
    (lines,) = re.findall(r"```dockerfile\n(.*?)```", (KUBERNETES / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert lines.startswith("FROM ml-serve:latest\n")
    (folder / "Dockerfile").write_text(lines.replace("ml-serve:latest", serve_image), encoding="utf-8")
    shutil.copytree(make_bundle(folder / "made").path, folder / "bundle")
    docker.build("", TAG, dockerfile="Dockerfile", context=folder)


@pytest.fixture(scope="module")
def pod(docker: Docker, serve_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    image_of_the_readme(docker, serve_image, tmp_path_factory.mktemp("image"))
    keys = tmp_path_factory.mktemp("keys")
    key = add_key(keys / "keys.txt", "ops", admin=True)
    keys.chmod(0o755)
    (keys / "keys.txt").chmod(
        next(one["secret"]["defaultMode"] for one in pod_of(DEPLOYMENT)["volumes"] if "secret" in one)
    )
    docker.run("run", "--detach", "--name", NAME, *terms(keys), TAG, *words_of(DEPLOYMENT, OBJECTS))
    try:
        port = int(docker.run("port", NAME, "8000").splitlines()[0].rsplit(":", 1)[1])
        yield Pod(docker, port, key)
    finally:
        docker.run("rm", "--force", NAME)
        docker.run("image", "rm", TAG)


@pytest.fixture(scope="module")
def ready(pod: Pod) -> Pod:
    """The pod, once its startup probe has passed."""
    probe = CONTAINER["startupProbe"]
    for _ in range(probe["failureThreshold"]):
        if pod.passes("startupProbe"):
            return pod
        time.sleep(probe["periodSeconds"])  # as the kubelet does
    raise AssertionError(pod.docker.run("logs", NAME))


def test_it_starts_and_passes_every_probe(ready: Pod) -> None:
    assert ready.passes("readinessProbe")
    assert ready.passes("livenessProbe")


def test_it_answers_who_has_a_key_of_the_secret(ready: Pod) -> None:
    picture = png(8, 8)
    assert ready.ask("POST", "/predict", picture, key="")[0] == 401
    status, body = ready.ask("POST", "/predict", picture)
    assert status == 200
    assert json.loads(body)["model"] == "digits_tiny"


def png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (width, height), (200, 100, 50, 128)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def test_the_largest_pictures_at_once_leave_it_alive_within_its_memory(ready: Pod) -> None:
    largest = png(4000, 4000)  # 16 megapixels, the most that the settings take
    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: ready.ask("POST", "/predict", largest)[0], range(4)))
    assert set(answers) <= {200, 429, 503}
    assert 200 in answers
    assert ready.ask("POST", "/predict", png(4000, 4001))[0] == 413
    state = ready.state()
    assert (state["Running"], state["OOMKilled"]) == (True, False)


def test_it_ends_by_itself_within_what_the_grace_period_leaves(ready: Pod) -> None:
    left = pod_of(DEPLOYMENT)["terminationGracePeriodSeconds"] - CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    ready.docker.run("stop", "--time", str(left), NAME)
    assert ready.state()["ExitCode"] == 0
