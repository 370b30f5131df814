"""deploy/kubernetes against the strict schemas of Kubernetes, and what those refuse."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
from rendered_kubernetes import FOLDERS, KUBERNETES, Object, only, render, rendered, with_components

VERSIONS = ("1.30", kubernetes_validate.latest_version())  # README.md: 1.30 or newer
README = (KUBERNETES / "README.md").read_text(encoding="utf-8")


def mistakes(objects: list[Object], version: str) -> list[str]:
    """What the strict schemas of a version refuse; kinds without a schema are left out."""
    found = []
    for one in objects:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{one['kind']}: {error.message}")
        except kubernetes_validate.SchemaNotFoundError:
            pass
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", FOLDERS)
def test_every_overlay_keeps_to_the_strict_schemas(name: str, version: str) -> None:
    assert mistakes(rendered(name), version) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_the_components_keep_to_the_strict_schemas(tmp_path: Path, version: str) -> None:
    assert mistakes(with_components(tmp_path, "bundle-volume", "service-monitor"), version) == []


def test_what_has_no_schema_is_what_the_readme_says_is_not_checked(tmp_path: Path) -> None:
    unknown = set()
    for one in [*(one for name in FOLDERS for one in rendered(name)), *with_components(tmp_path, "service-monitor")]:
        try:
            kubernetes_validate.validate(one, VERSIONS[-1], strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.add(one["kind"])
    assert unknown == set(re.findall(r"^\| `(\w+)` \|.* no schema", README, re.MULTILINE))


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("base/deployment.yaml", "readinessProbe:", "readynessProbe:"),
        ("base/deployment.yaml", "containerPort: 8000", 'containerPort: "http"'),
        ("base/deployment.yaml", "readOnlyRootFilesystem:", "readonlyRootFilesystem:"),
        ("base/deployment.yaml", "seconds: 10", "second: 10"),
        ("base/service.yaml", "targetPort:", "target_port:"),
        ("base/ingress.yaml", "ingressClassName:", "ingressClass:"),
        ("base/network-policy.yaml", "policyTypes:", "policyType:"),
        ("overlays/production/pod-disruption-budget.yaml", "maxUnavailable: 1", "maxUnavailable: [1]"),
        ("overlays/production/horizontal-pod-autoscaler.yaml", "averageUtilization: 80", "averageUtilization: 80%"),
        ("overlays/production/horizontal-pod-autoscaler.yaml", "maxReplicas: 12", "maximum: 12"),
    ],
)
def test_a_manifest_with_a_mistake_is_refused(tmp_path: Path, file: str, right: str, wrong: str) -> None:
    copy = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, copy)
    text = (copy / file).read_text(encoding="utf-8")
    assert right in text
    (copy / file).write_text(text.replace(right, wrong), encoding="utf-8")
    assert mistakes(render(copy / "overlays" / "production"), VERSIONS[-1])


def test_the_sleep_before_the_end_is_why_older_clusters_are_not_supported() -> None:
    (refusal,) = mistakes([only(rendered("overlays/small"), "Deployment")], "1.28")
    assert "'sleep' was unexpected" in refusal


def test_a_kustomization_that_names_a_missing_file_is_refused(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    (tmp_path / "kubernetes" / "base" / "service.yaml").unlink()
    with pytest.raises(subprocess.CalledProcessError):
        render(tmp_path / "kubernetes" / "overlays" / "small")
