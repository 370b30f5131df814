"""Two pytest plugins: one runs chosen tests in a chosen order, one notes what each test takes and runs."""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest


class Chosen:
    """Runs the tests that `rank` names, by rank; those of one engine together, since they share a trained run."""

    def __init__(self, rank: dict[str, int], limit: float) -> None:
        self.rank, self.limit = rank, limit

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self.rank), key=self.place)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """A test that takes longer than the limit (seconds) takes the process along."""
        signal.setitimer(signal.ITIMER_REAL, self.limit)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def place(self, item: pytest.Item) -> tuple[str, int]:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        return str(parameters.get("engine", "")), self.rank[item.nodeid]


class Noted:
    """Seconds and outcome of each test; the coverage that is measured meanwhile carries the test's name and phase."""

    def __init__(self, coverage: Any) -> None:
        self.coverage = coverage
        self.seconds: dict[str, float] = defaultdict(float)
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(f"{item.nodeid} (setup)")
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(f"{item.nodeid} (call)")
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration
        if report.outcome != "passed":
            self.failed.add(report.nodeid)
