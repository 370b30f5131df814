"""A real Prometheus with the shipped rules watches two real services under every kind of traffic.

    python -m pytest -q tests/containers/test_monitoring_stack.py          # a minute and a half; needs apt, no engine

The rules are the shipped ones but for time (`write_quick_copy`): a scrape and a look at the rules every second,
windows of seconds, `for: 1s`. An alert's query is empty while all is well, so what it looks at is asked without its
limits (`measure_of`). Grafana isn't here: the dashboard's queries are asked of Prometheus, its variables filled in.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from monitored_service import Replica, Traffic, another_version, free_port, refuse_a_model, roll_back
from prometheus_server import (
    QUICK,
    SHIPPED,
    Programs,
    PrometheusServer,
    find_programs,
    measure_of,
    quick,
    running_prometheus,
    write_quick_copy,
)
from shipped_monitoring import Query, alerts, dashboard, panel_queries, rules

# What the traffic below has to raise. The others need an hour of labels, 1 GiB or a full disk: see rules_test.yml.
RAISED = {
    "CanaryRolledBack", "ConfidenceLow", "DeadlinesMissed", "ErrorRateHigh", "InputDrift", "KeysRefused",
    "ModelRefused", "RequestsRejected", "VersionsDiffer",
}  # fmt: skip


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Programs:
    return find_programs(tmp_path_factory.mktemp("programs"))


@dataclass
class Stack:
    """Two replicas, the server that watches them, and what is asked; `quiet` fired before anything was."""

    replicas: tuple[Replica, Replica]
    prometheus: PrometheusServer
    quiet: set[str]
    traffic: Traffic = field(default_factory=Traffic)

    def instance(self, place: int) -> str:
        return f"127.0.0.1:{self.replicas[place].port}"

    def stop(self, place: int) -> None:
        """End a replica that nobody asks any more."""
        self.traffic.leave(self.replicas[place])
        self.replicas[place].stop()


@pytest.fixture(scope="module")
def stack(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack, with a key for Prometheus in a file."""
    folder = tmp_path_factory.mktemp("stack")
    replicas = Replica(folder / "one"), Replica(folder / "two")
    port = free_port()
    key = folder / "metrics.key"
    try:
        for replica in replicas:
            replica.start()
        (replicas[1].folder / "keys.txt").write_bytes((replicas[0].folder / "keys.txt").read_bytes())
        replicas[1].key = replicas[0].key
        key.write_text(replicas[0].key + "\n")
        targets = {"serve": [f"127.0.0.1:{one.port}" for one in replicas], "prometheus": [f"127.0.0.1:{port}"]}
        config = write_quick_copy(folder, targets=targets, key_file=key)
        with running_prometheus(programs.prometheus, config, port) as server:
            server.until(lambda: server.query("sum(up)") == [({}, 3.0)], "both replicas and itself are scraped")
            looks = "min(prometheus_rule_group_iterations_total)"
            server.until(lambda: server.has_figures(f"{looks} >= 5"), "the rules were looked at five times")
            whole = Stack(replicas, server, server.names_firing())
            yield whole
            for place in range(2):
                whole.stop(place)
    finally:
        for replica in replicas:
            replica.stop()


@pytest.fixture(scope="module")
def busy(stack: Stack) -> Stack:
    """The stack under traffic, after a rollback, a refused bundle and an update of one replica only."""
    for replica in stack.replicas:
        stack.traffic.visit(replica)
    stack.prometheus.until(lambda: stack.prometheus.has_figures("inference_drift"), "drift was looked for")
    roll_back(stack.replicas[0])
    refuse_a_model(stack.replicas[0])
    another_version(stack.replicas[1])
    return stack


def checked(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_configuration_and_rules(programs: Programs) -> None:
    assert "SUCCESS" in checked(programs.promtool, "check", "config", "--syntax-only", SHIPPED / "prometheus.yml")
    assert f"SUCCESS: {len(rules())} rules" in checked(programs.promtool, "check", "rules", SHIPPED / "rules.yml")


def test_each_alert_fires_and_is_silent_in_the_unit_tests_of_the_rules(programs: Programs) -> None:
    assert "SUCCESS" in checked(programs.promtool, "test", "rules", SHIPPED / "rules_test.yml")
    tested = (SHIPPED / "rules_test.yml").read_text(encoding="utf-8")
    assert {name for name in alerts() if f'alertname="{name}"' in tested} == set(alerts())


def test_nothing_fires_while_nobody_asks(stack: Stack) -> None:
    assert stack.quiet == set()


@pytest.mark.parametrize("name", alerts())
def test_what_an_alert_looks_at_has_a_value_from_the_real_service(name: str, busy: Stack) -> None:
    measure = quick(measure_of(alerts()[name]["expr"]))
    busy.prometheus.until(lambda: busy.prometheus.has_figures(measure), measure)


@pytest.mark.parametrize("query", panel_queries(window=QUICK["5m"]), ids=lambda query: query.where)
def test_each_panel_has_a_value_from_the_real_service(query: Query, busy: Stack) -> None:
    busy.prometheus.until(lambda: busy.prometheus.has_figures(query.expression), query.expression)


@pytest.mark.parametrize("variable", ["model", "instance"])
def test_each_list_at_the_top_of_the_dashboard_has_its_choices(variable: str, busy: Stack) -> None:
    [definition] = [one["definition"] for one in dashboard()["templating"]["list"] if one["name"] == variable]
    metric, _, label = definition.removeprefix("label_values(").removesuffix(")").rpartition(", ")
    choices = {"model": ["canary", "stable"], "instance": sorted(busy.instance(place) for place in (0, 1))}
    assert busy.prometheus.get(f"label/{label}/values", **{"match[]": metric}) == choices[variable]


def test_this_traffic_raises_the_alerts_that_it_deserves(busy: Stack) -> None:
    seen: set[str] = set()

    def all_seen() -> bool:
        seen.update(busy.prometheus.names_firing())
        return seen >= RAISED

    busy.prometheus.until(all_seen, f"all of {sorted(RAISED)}")
    assert not seen & {"ReplicaDown", "NoReplicaReady", "ReplicaNotReady", "MemoryNearLimit", "JournalLosesRecords"}
    [annotation] = dashboard()["annotations"]["list"]
    assert busy.prometheus.has_figures(annotation["expr"])


def test_the_command_of_the_runbook_asks_one_replica(busy: Stack) -> None:
    """As it is typed, but for `docker compose exec`, in the place of which the program runs here."""
    text = (SHIPPED.parents[1] / "docs" / "alerts.md").read_text(encoding="utf-8")
    [function] = re.findall(r"^(ask\(\) .*?; \})$", text, re.MULTILINE | re.DOTALL)
    here = f'docker() {{ export "$5"; shift 7; {sys.executable} "$@"; }}'
    function = function.replace("8000", str(busy.replicas[0].port))
    asked = [f"export KEY={busy.replicas[0].key}", "ask serve-1 /drift", "ask serve-1 /admin/reload '{}'"]
    drift, reload = checked("bash", "-euc", "\n".join([here, function, *asked])).splitlines()
    assert set(json.loads(drift)["models"]) == {"stable", "canary"}
    assert [one["result"] for one in json.loads(reload)["models"]] == ["refused", "unchanged"]


def test_an_alert_fires_when_a_replica_is_stopped_and_is_over_when_it_is_back(stack: Stack) -> None:
    server = stack.prometheus
    stack.stop(1)
    server.until(lambda: "ReplicaDown" in server.names_firing(), "a replica is down")
    [alert] = [one for one in server.firing() if one["labels"]["alertname"] == "ReplicaDown"]
    assert alert["labels"]["instance"] == stack.instance(1)
    assert alert["annotations"]["summary"] == f"{stack.instance(1)} does not answer Prometheus"
    assert server.query("job:service_ready:sum") == [({"__name__": "job:service_ready:sum", "job": "serve"}, 1.0)]
    assert "NoReplicaReady" not in server.names_firing()
    stack.replicas[1].start()
    server.until(lambda: "ReplicaDown" not in server.names_firing(), "it is back")


def test_without_any_replica_somebody_is_woken(stack: Stack) -> None:
    """`service_ready` has no value then at all."""
    for place in range(2):
        stack.stop(place)
    stack.prometheus.until(lambda: "NoReplicaReady" in stack.prometheus.names_firing(), "no replica is ready")
    assert stack.prometheus.query("service_ready") == []
