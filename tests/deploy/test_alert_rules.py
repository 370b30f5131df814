"""Rules, dashboard and runbook agree with each other and with the metrics that a real service has."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from monitored_service import Replica, another_version, one_round, refuse_a_model, roll_back
from prometheus_client.parser import text_string_to_metric_families
from prometheus_server import COMPARISON, QUICK, WINDOW, measure_of
from shipped_monitoring import (
    DEPLOY,
    Query,
    alerts,
    dashboard,
    labels_in,
    metrics_in,
    panel_queries,
    panels,
    rules,
)

from mlstack.config.serving import ServeSettings

RUNBOOK = DEPLOY.parent / "docs" / "alerts.md"
# What Prometheus says of each target and of its alerts by itself, and the labels that it adds.
PROMETHEUS_OWN = {"up", "ALERTS"}
TARGET_LABELS = {"job", "instance"}
# How a limit follows from the setting that it names, where it isn't the same number.
FROM_SETTING = {"serve.alerts.p95_ms": 1e-3, "serve.queue_images": 0.5}

QUERIES = [Query(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()] + panel_queries()


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Labels of each series that a service has after every kind of request, by the name of its samples."""
    replica = Replica(tmp_path_factory.mktemp("replica"))
    found: dict[str, set[str]] = {}
    try:
        replica.start()
        for _ in range(6):
            one_round(replica)
        roll_back(replica)
        refuse_a_model(replica)
        another_version(replica)
        for family in text_string_to_metric_families(replica.metrics()):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    finally:
        replica.stop()
    return found


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_each_query_names_metrics_and_labels_that_the_service_has(query: Query, series: dict[str, set[str]]) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    names = metrics_in(query.expression)
    assert names, "no metric was found in it"
    assert names - recorded - PROMETHEUS_OWN <= set(series)
    for name, labels in labels_in(query.expression).items():
        if name in series:
            assert labels <= series[name] | TARGET_LABELS, name


def test_every_series_of_the_service_is_shown_or_watched(series: dict[str, set[str]]) -> None:
    used = set().union(*(metrics_in(query.expression) for query in QUERIES))
    # Written for whoever is there: totals of what other figures show, and what the service itself found.
    left_out = {"journal_written_records", "inference_alert"}
    families = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in series if not name.endswith("_created")}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in used}
    assert families - shown == left_out


@pytest.mark.parametrize("name", alerts())
def test_each_alert_says_how_bad_it_is_and_where_to_read_on(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"]
    words = re.findall("[A-Z][a-z]+", name)
    assert rule["annotations"]["runbook"] == f"docs/alerts.md#{'-'.join(words).lower()}"
    waits = rule.get("for") is not None
    counts_events = "[15m]" in rule["expr"]
    assert waits or counts_events, "it would fire at a single bad moment"


def test_each_alert_has_its_section_and_each_section_its_alert() -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    wanted = {rule["annotations"]["runbook"].partition("#")[2] for rule in alerts().values()}
    sections = [part.partition("\n") for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]]
    assert sorted(title.lower().replace(" ", "-") for title, _, _ in sections) == sorted(wanted)
    listed = re.findall(r"\[[^\]]+\]\(#([a-z-]+)\)", text.partition("\n## ")[0])
    assert set(listed) >= wanted
    for title, _, body in sections:
        for word in ("**Means**", "**Look**", "**Do**", "**Silence**"):
            assert body.count(word) == 1, f"{title}: {word}"


def test_the_runbook_says_the_severity_that_the_rule_has() -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    for name, rule in alerts().items():
        title = " ".join(re.findall("[A-Z][a-z]+", name)).capitalize()
        assert f"### {title}\n\n`{name}`, {rule['labels']['severity']}" in text


@pytest.mark.parametrize("name", alerts())
def test_limits_stand_on_lines_of_their_own(name: str) -> None:
    """So that `measure_of` takes all of them away and nothing else."""
    expression = alerts()[name]["expr"]
    assert COMPARISON.search(expression)
    assert not re.search(r"[<>]|==|!=", re.sub(r"\{[^}]*\}", "", measure_of(expression)))


def test_limits_follow_the_settings_that_they_name() -> None:
    named = {name: rule for name, rule in alerts().items() if "setting" in rule["annotations"]}
    assert len(named) >= 4
    for name, rule in named.items():
        setting, _, value = rule["annotations"]["setting"].partition("=")
        default: Any = ServeSettings()
        for part in setting.split(".")[1:]:
            default = getattr(default, part)
        assert float(value) == default, setting
        first = COMPARISON.search(rule["expr"])
        assert first
        factors = [float(number) for number in re.findall(r"[\d.]+", first.group())]  # `> 0.5 * 256`
        assert math.prod(factors) == pytest.approx(default * FROM_SETTING.get(setting, 1)), name


def test_every_window_of_a_rule_has_a_quick_one_for_tests() -> None:
    windows = {window for rule in rules() for window in WINDOW.findall(rule["expr"])}
    assert windows == set(QUICK)


def test_prometheus_asks_the_replicas_of_compose() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    compose = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    replicas = [name for name in compose["services"] if re.fullmatch(r"serve-\d+", name)]
    assert jobs["serve"]["static_configs"] == [{"targets": [f"{name}:8000" for name in replicas]}]
    mounted = compose["services"]["prometheus"]["volumes"]
    key = jobs["serve"]["authorization"]["credentials_file"]
    assert any(key == volume.rsplit(":", 2)[1] for volume in mounted)
    memory = {compose["services"][name]["mem_limit"] for name in replicas}
    assert memory == {"1g"}
    assert f"> 0.9 * {2**30}" in alerts()["MemoryNearLimit"]["expr"]


def test_grafana_finds_its_source_and_the_folder_of_the_dashboard() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    [provider] = yaml.safe_load((provisioning / "dashboards" / "service.yml").read_text())["providers"]
    wanted = {"type": source["type"], "uid": source["uid"]}
    everything = dashboard()
    askers = [*everything["templating"]["list"], *everything["annotations"]["list"], *panels()]
    askers += [target for panel in panels() for target in panel["targets"]]
    assert all(asker["datasource"] == wanted for asker in askers)
    compose = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text(encoding="utf-8"))
    mounts = compose["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in mounts


def test_panels_lie_side_by_side_on_24_columns() -> None:
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    places = [panel["gridPos"] for panel in everything]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or apart, (one, other)


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_each_panel_explains_itself(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["type"] in {"stat", "timeseries", "heatmap", "state-timeline", "table"}
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == [chr(ord("A") + place) for place in range(len(letters))]
    defaults = panel["fieldConfig"]["defaults"]
    if panel["type"] in {"stat", "timeseries"}:
        assert defaults["unit"]
        assert defaults["thresholds"]["steps"][0]["value"] is None
    if panel["type"] == "timeseries":
        assert all(target["legendFormat"] for target in panel["targets"])


def test_the_dashboard_has_the_schema_and_the_lists_that_it_was_made_for() -> None:
    everything = dashboard()
    assert everything["schemaVersion"] == 41  # Grafana 12
    names = {variable["name"] for variable in everything["templating"]["list"]}
    assert names == {"model", "instance"}
    used = set(re.findall(r"\$(\w+)", Path(DEPLOY / "grafana/dashboards/service.json").read_text())) - {"__all"}
    assert used == names | {"__rate_interval"}
