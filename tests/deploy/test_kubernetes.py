"""deploy/kubernetes against the service's own settings, the images, and itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rendered_kubernetes import (
    FOLDERS,
    KUBERNETES,
    OVERLAYS,
    REFERENCE,
    ROOT,
    Object,
    container_of,
    deployments,
    of_kind,
    only,
    pod_of,
    render,
    rendered,
    selects,
    settings_of,
    with_components,
    words_of,
)

from mlstack.config import Config
from mlstack.config.compose import compose
from mlstack.config.serving import ServeConfig
from mlstack.errors import ConfigError

DOCKERFILE = (ROOT / "deploy" / "cpu" / "Dockerfile").read_text(encoding="utf-8")
README = (KUBERNETES / "README.md").read_text(encoding="utf-8")
SERVING = list(deployments())
each_deployment = pytest.mark.parametrize(
    ("deployment", "objects"), [each[1:] for each in SERVING], ids=[each[0] for each in SERVING]
)
each_overlay = pytest.mark.parametrize("name", OVERLAYS)


def entry_point() -> list[str]:
    """What the serve image says before the container's own arguments: bundle=… serve.host=…"""
    stage = DOCKERFILE.split(" AS serve\n")[1].split("\nFROM ")[0]
    words = json.loads(re.findall(r"^ENTRYPOINT (\[.*\])$", stage, re.MULTILINE)[-1])
    return [word for word in words if "=" in word]


def typed(deployment: Object, objects: list[Object]) -> ServeConfig:
    """The settings that the service will have, by its real schema."""
    return compose(ServeConfig, [*entry_point(), *words_of(deployment, objects)], config_name="serve")


@each_deployment
def test_the_arguments_are_settings_of_the_service(deployment: Object, objects: list[Object]) -> None:
    config = typed(deployment, objects)
    container = container_of(deployment)
    assert config.bundle == ["/bundle"]
    assert [config.serve.port] == [port["containerPort"] for port in container["ports"]]
    (keys,) = [mount for mount in container["volumeMounts"] if mount["name"] == "keys"]
    assert config.serve.api_keys_file == f"{keys['mountPath']}/keys.txt"
    assert keys["readOnly"]
    assert "subPath" not in keys


@each_deployment
def test_each_value_of_the_config_map_is_the_argument_of_its_name(deployment: Object, objects: list[Object]) -> None:
    used = {word for word in container_of(deployment)["args"] if REFERENCE.search(word)}
    assert used == {f"{name.lower().replace('_', '.', 1)}=$({name})" for name in settings_of(deployment, objects)}


def test_an_argument_that_is_no_setting_is_refused() -> None:
    _, deployment, objects = SERVING[0]
    with pytest.raises(ConfigError, match=r"serve\.drain_seconds"):
        compose(ServeConfig, [*words_of(deployment, objects), "serve.drain_seconds=30"], config_name="serve")


@each_deployment
def test_a_pod_is_killed_only_after_it_had_time_to_leave_the_service_and_to_drain(
    deployment: Object, objects: list[Object]
) -> None:
    sleep = container_of(deployment)["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = typed(deployment, objects).serve.drain_s
    assert sleep >= 5
    assert pod_of(deployment)["terminationGracePeriodSeconds"] >= sleep + drain + 10


@each_deployment
def test_the_limits_of_the_service_fit_into_its_memory(deployment: Object, objects: list[Object]) -> None:
    serve = typed(deployment, objects).serve
    worst = 200 + serve.queue_mb + 16 * serve.max_body_mb + 15 * serve.max_megapixels  # base/kustomization.yaml, MB
    assert container_of(deployment)["resources"]["limits"] == {"cpu": "1", "memory": "1Gi"}
    assert worst < 0.75 * 1074


@each_deployment
def test_every_rollout_keeps_all_replicas_and_asks_for_what_was_measured(
    deployment: Object, objects: list[Object]
) -> None:
    small = objects is rendered("overlays/small")
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    wanted = {"cpu": "250m", "memory": "256Mi"} if small else {"cpu": "500m", "memory": "512Mi"}
    assert container_of(deployment)["resources"]["requests"] == wanted


def test_the_base_has_three_replicas_and_the_small_overlay_one() -> None:
    assert [only(rendered(name), "Deployment")["spec"]["replicas"] for name in ("base", "overlays/small")] == [3, 1]


@pytest.mark.parametrize("name", ["overlays/production", "overlays/canary"])
def test_the_autoscaler_alone_says_how_many_replicas_production_has(name: str) -> None:
    (scaler,) = of_kind(rendered(name), "HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    assert "replicas" not in only(rendered(name), target["kind"], target["name"])["spec"]
    assert 3 <= scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]
    assert of_kind(rendered("overlays/small"), "HorizontalPodAutoscaler") == []


@each_deployment
def test_whatever_selects_pods_selects_those_that_it_is_about(deployment: Object, objects: list[Object]) -> None:
    name, labels = deployment["metadata"]["name"], deployment["spec"]["template"]["metadata"]["labels"]
    pod = pod_of(deployment)
    assert selects(deployment["spec"]["selector"]["matchLabels"], labels)
    assert selects(only(objects, "Service", name)["spec"]["selector"], labels)
    assert selects(only(objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"], labels)
    spread = [one["labelSelector"] for one in pod.get("topologySpreadConstraints", [])]
    apart = (
        pod.get("affinity", {}).get("podAntiAffinity", {}).get("preferredDuringSchedulingIgnoredDuringExecution", [])
    )
    assert all(selects(one["matchLabels"], labels) for one in spread)
    assert all(selects(one["podAffinityTerm"]["labelSelector"]["matchLabels"], labels) for one in apart)
    assert bool(spread) == bool(apart) == (objects is not rendered("overlays/small"))
    for budget in of_kind(objects, "PodDisruptionBudget"):
        assert selects(budget["spec"]["selector"]["matchLabels"], labels) == (name == "ml-serve")


def test_the_stable_service_leaves_the_candidate_alone() -> None:
    objects = rendered("overlays/canary")
    pods = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"] for one in of_kind(objects, "Deployment")
    }
    behind = {
        one["metadata"]["name"]: [name for name, labels in pods.items() if selects(one["spec"]["selector"], labels)]
        for one in of_kind(objects, "Service")
    }
    assert behind == {"ml-serve": ["ml-serve"], "ml-serve-candidate": ["ml-serve-candidate"]}


def test_the_candidate_differs_from_the_stable_deployment_by_its_image() -> None:
    objects = rendered("overlays/canary")
    stable, candidate = only(objects, "Deployment"), only(objects, "Deployment", "ml-serve-candidate")
    differing = {
        key
        for key in container_of(stable) | container_of(candidate)
        if container_of(stable).get(key) != container_of(candidate).get(key)
    }
    assert differing == {"image", "envFrom"}
    assert words_of(stable, objects) == words_of(candidate, objects)


@pytest.mark.parametrize("name", FOLDERS)
def test_no_pod_may_do_more_than_it_needs(name: str) -> None:
    user = int(re.findall(r"^USER (\d+):", DOCKERFILE, re.MULTILINE)[0])
    for workload in [*of_kind(rendered(name), "Deployment"), *of_kind(rendered(name), "Job")]:
        pod, rights = pod_of(workload), container_of(workload)["securityContext"]
        whole = pod["securityContext"]
        assert (whole["runAsUser"], whole["runAsGroup"], whole["fsGroup"]) == (user, user, user)
        assert whole["runAsNonRoot"]
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["automountServiceAccountToken"]
        assert rights["readOnlyRootFilesystem"]
        assert not rights["allowPrivilegeEscalation"]
        assert rights["capabilities"] == {"drop": ["ALL"]}


def test_production_refuses_laxer_pods_and_runs_one_digest() -> None:
    objects = rendered("overlays/production")
    labels = only(objects, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert re.fullmatch(r"[^@:]+@sha256:[0-9a-f]{64}", container_of(only(objects, "Deployment"))["image"])
    assert {one["metadata"].get("namespace", "ml-serve") for one in objects} == {"ml-serve"}


@each_overlay
def test_no_secret_is_committed(name: str) -> None:
    assert of_kind(rendered(name), "Secret") == []
    assert "create secret generic ml-serve-keys --from-file=keys.txt" in README


@each_overlay
def test_the_network_is_closed_but_for_the_edge_prometheus_names_and_the_webhook(name: str) -> None:
    policy = only(rendered(name), "NetworkPolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    (way_in,) = policy["ingress"]
    assert all("namespaceSelector" in peer and peer["namespaceSelector"] for peer in way_in["from"])
    assert way_in["ports"] == [{"protocol": "TCP", "port": "http"}]
    assert [[port["port"] for port in rule["ports"]] for rule in policy["egress"]] == [[53, 53], [443]]
    assert policy["egress"][1]["to"][0]["ipBlock"]["cidr"].endswith("/32")


def test_a_bundle_on_a_volume_takes_the_plain_image_and_stands_where_the_image_looks(tmp_path: Path) -> None:
    objects = with_components(tmp_path, "bundle-volume")
    deployment = only(objects, "Deployment")
    (claim,) = of_kind(objects, "PersistentVolumeClaim")
    volumes = {one["name"]: one for one in pod_of(deployment)["volumes"]}
    mounts: dict[str, Any] = {one["mountPath"]: one for one in container_of(deployment)["volumeMounts"]}
    (place,) = typed(deployment, objects).bundle
    assert container_of(deployment)["image"] == "ml-serve:latest"
    assert volumes[mounts[place]["name"]]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert mounts[place]["readOnly"]


def test_what_the_readme_applies_is_there() -> None:
    folders = set(re.findall(r"(?:apply|diff|delete|kustomize)(?: -k)? (deploy/kubernetes/[\w/-]+)", README))
    assert {f"deploy/kubernetes/{name}" for name in FOLDERS} <= folders
    for folder in folders:
        assert render(ROOT / folder)


def test_the_training_job_counts_its_pods_once_and_its_command_is_one_of_train() -> None:
    objects = rendered("training")
    job, service = only(objects, "Job", "ml-train"), only(objects, "Service", "ml-train")
    args = container_of(job)["args"]
    assert {f"--nnodes={job['spec']['completions']}", f"--nnodes={job['spec']['parallelism']}"} <= set(args)
    assert pod_of(job)["subdomain"] == service["metadata"]["name"]
    assert selects(service["spec"]["selector"], job["spec"]["template"]["metadata"]["labels"])
    (endpoint,) = [word for word in args if word.startswith("--rdzv-endpoint=")]
    place = "ml-train-0.ml-train.$(NAMESPACE).svc.cluster.local"
    assert endpoint == f"--rdzv-endpoint={place}:{service['spec']['ports'][0]['port']}"
    assert compose(Config, args[args.index("scripts/train.py") + 1 :]).trainer.strategy == "ddp"
