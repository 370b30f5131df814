"""The shipped dashboard and rules, as tests read them: queries, panels, and the metrics that an expression names."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "service.json"
# A name that is no function and no word of the language, once texts, selectors and lists of labels are taken away.
LABELS = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\([^)]*\)")
SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}")
NAME = re.compile(r"(?<![\w:$\"])[a-zA-Z_:][\w:]*(?![\w:]*\s*\()")
WORDS = {"and", "or", "unless", "offset", "bool", "by", "on"}


@dataclass(frozen=True)
class Query:
    """One query of a panel or of a rule."""

    where: str
    expression: str


def rules() -> list[dict[str, Any]]:
    """All rules, alerts and recorded ones, in their order."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def dashboard() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return read


def panels() -> list[dict[str, Any]]:
    """Those that show something: no rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_queries(*, window: str = "$__rate_interval") -> list[Query]:
    """Each target of each panel, with everything chosen in the lists at the top."""
    found = []
    for panel in panels():
        for target in panel["targets"]:
            text = target["expr"].replace("$__rate_interval", window)
            for variable in dashboard()["templating"]["list"]:
                text = text.replace(f"${variable['name']}", variable["allValue"])
            found.append(Query(f"{panel['title']} {target['refId']}", text))
    return found


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression names."""
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", LABELS.sub(" ", expression))
    return {name for name in NAME.findall(text) if name not in WORDS}


def labels_in(expression: str) -> dict[str, set[str]]:
    """The labels by which an expression selects, by metric."""
    found: dict[str, set[str]] = {}
    for name, selector in SELECTOR.findall(expression):
        found.setdefault(name, set()).update(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
    return found
