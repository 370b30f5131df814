"""A real Prometheus: its program, a quick copy of the shipped configuration, a running server, and what it is asked.

The program is the one on the PATH, or Debian's package, downloaded and unpacked without being installed: it is linked
with the C library alone, and an installed package would start a server of its own.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

SHIPPED = Path(__file__).parents[2] / "deploy" / "prometheus"
# Windows of the shipped rules and dashboards, in the time of a test. Nothing else of a rule is changed but `for`.
QUICK = {"5m": "10s", "15m": "20s", "1h": "15s", "1d": "30s"}
WINDOW = re.compile(r"(?<=\[)\d+[smhd](?=\])|(?<=offset )\d+[smhd]")
COMPARISON = re.compile(r"^\s*(==|!=|[<>]=?) .*$", re.MULTILINE)


@dataclass(frozen=True)
class Programs:
    """Where `prometheus` and `promtool` are."""

    prometheus: Path
    promtool: Path


def find_programs(folder: Path) -> Programs:
    """The programs on the PATH, otherwise those of Debian's package, unpacked in a folder."""
    there = [shutil.which(name) for name in ("prometheus", "promtool")]
    if there[0] and there[1]:
        return Programs(Path(there[0]), Path(there[1]))
    download = partial(subprocess.run, ["apt-get", "download", "-qq", "prometheus"], cwd=folder, capture_output=True)
    if download().returncode != 0:  # no list of packages yet, or an old one
        subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True)
        download(check=True)
    [package] = folder.glob("prometheus_*.deb")
    subprocess.run(["dpkg-deb", "--extract", str(package), str(folder / "root")], check=True)
    return Programs(folder / "root/usr/bin/prometheus", folder / "root/usr/bin/promtool")


def measure_of(expression: str) -> str:
    """What an alert looks at, without its limits: by the convention of rules.yml, they stand on lines of their own."""
    return COMPARISON.sub("", expression)


def quick(expression: str) -> str:
    """The same with windows of seconds."""
    return WINDOW.sub(lambda match: QUICK[match[0]], expression)


def write_quick_copy(folder: Path, *, targets: Mapping[str, list[str]], key_file: Path, interval: str = "1s") -> Path:
    """The shipped configuration for a test: every second, windows of seconds, other addresses. The rules stay the same.

    Args:
        folder: Where prometheus.yml and rules.yml are written.
        targets: Addresses by job; every shipped job has to be there.
        key_file: In place of the shipped credentials_file.
        interval: Between two scrapes, and two looks at the rules.
    """
    config = yaml.safe_load((SHIPPED / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = dict.fromkeys(config["global"], interval)
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": targets[job["job_name"]]}]
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(key_file)
    rules = yaml.safe_load((SHIPPED / "rules.yml").read_text(encoding="utf-8"))
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule["expr"] = quick(rule["expr"])
        if "for" in rule:
            rule["for"] = "1s"
    (folder / "rules.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder / "prometheus.yml"


@dataclass
class PrometheusServer:
    """A server that runs; `url` is its address."""

    url: str

    def get(self, path: str, **parameters: str) -> Any:
        """`data` of an answer of its API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series that a query has now."""
        data = self.get("query", query=expression)
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def has_figures(self, expression: str) -> bool:
        """Whether a query has a series with a number now, not only 0/0."""
        return any(math.isfinite(value) for _, value in self.query(expression))

    def firing(self) -> list[dict[str, Any]]:
        """Alerts that fire now, with labels and annotations."""
        return [alert for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"]

    def names_firing(self) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self.firing()}

    def until(self, what: Callable[[], bool], why: str, seconds: float = 40) -> None:
        """Wait for something that the next scrapes will show; AssertionError when they don't."""
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, f"not within {seconds:g} s: {why}; firing: {self.names_firing()}"
            time.sleep(0.2)


@contextlib.contextmanager
def running_prometheus(program: Path, config: Path, port: int) -> Iterator[PrometheusServer]:
    """The server, from the moment that it answers to the end of the block."""
    words = [f"--config.file={config}", f"--storage.tsdb.path={config.parent / 'data'}"]
    words += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (config.parent / "log").open("wb") as log:
        process = subprocess.Popen([str(program), *words], stdout=log, stderr=log)
        try:
            server = PrometheusServer(f"http://127.0.0.1:{port}")
            end = time.monotonic() + 30
            while True:
                assert process.poll() is None and time.monotonic() < end, (config.parent / "log").read_text()
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{server.url}/-/ready", timeout=5).close()
                    break
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()
            process.wait(30)
