"""Alerts: limits on latency, errors and confidence, raised once and resolved once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from mlstack.config.serving import AlertConfig
from mlstack.monitoring.windows import RequestWindow, WindowFigures

FEWEST_REQUESTS = 20  # in the window, before a limit counts
BACK = 0.1  # how far on the good side of its limit a value has to be, relative to it, before an alert is resolved
CALM = 0.25  # of the window, for which it has to stay there


@dataclass(frozen=True)
class Alert:
    """A limit that is passed, or that no longer is.

    Attributes:
        name: `p95_ms`, `error_rate`, `confidence`, or `drift:<model>`.
        value: What was measured when it was raised or resolved; None for drift.
        limit: What it is compared with; None for drift.
        since: When it was raised, ISO 8601.
        message: One sentence for people.
        resolved: When it ended, ISO 8601; None = it holds.
    """

    name: str
    value: float | None
    limit: float | None
    since: str
    message: str
    resolved: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"state": "resolved" if self.resolved else "raised", **asdict(self)}


@dataclass(frozen=True)
class _Limit:
    """A limit and the present value; `over` = the value has to stay below it."""

    name: str
    value: float
    limit: float
    over: bool
    text: str

    @property
    def passed(self) -> bool:
        return self.value > self.limit if self.over else self.value < self.limit

    @property
    def clear(self) -> bool:
        """Far enough on the good side, so that an alert doesn't flap."""
        if self.over:
            return self.value <= self.limit * (1 - BACK)
        return self.value >= min(self.limit * (1 + BACK), (self.limit + 1) / 2)


class AlertBoard:
    """Watches answered requests and says when a limit is passed, and when no longer.

    Args:
        settings: The limits, and how far they look back.
        clock: Seconds that never run backwards.
        send: Gets each alert that `check` raises or resolves; must neither block nor raise (`alert_senders.py`).

    Attributes:
        active: Alerts that hold, by name.
    """

    def __init__(
        self,
        settings: AlertConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
        send: Callable[[Alert], None] | None = None,
    ) -> None:
        self._settings, self._clock, self._send = settings, clock, send
        self._window = RequestWindow(settings.window_s, clock=clock)
        self._drifting: dict[str, bool] = {}
        self._clear_since: dict[str, float] = {}
        self._lock = threading.Lock()
        self.active: dict[str, Alert] = {}

    def observe(self, seconds: float, *, failed: bool, confidence: float | None) -> None:
        """Take note of one answered request. Costs microseconds."""
        with self._lock:
            self._window.add(seconds, failed=failed, confidence=confidence)

    def set_drift(self, label: str, drifting: bool) -> None:
        """Tell whether a model's answers drift; the next `check` raises or resolves the alert."""
        with self._lock:
            self._drifting[label] = drifting

    def check(self) -> list[Alert]:
        """Alerts that are newly raised or resolved. To be called every second or so."""
        with self._lock:
            changed = [*self._check_limits(self._window.figures()), *self._check_drift()]
            now = dict(self.active)
            for alert in changed:
                if alert.resolved:
                    del now[alert.name]
                else:
                    now[alert.name] = alert
            self.active = now  # a new mapping: whoever reads the old one reads it whole
        for alert in changed if self._send else ():
            assert self._send is not None
            self._send(alert)
        return changed

    def _check_limits(self, figures: WindowFigures) -> Iterator[Alert]:
        for one in self._limits(figures):
            held = self.active.get(one.name)
            if held is None:
                if one.passed and figures.requests >= FEWEST_REQUESTS:
                    self._clear_since.pop(one.name, None)
                    yield Alert(one.name, one.value, one.limit, _now(), one.text)
            elif figures.requests and not one.clear:
                self._clear_since.pop(one.name, None)
            elif self._clock() - self._clear_since.setdefault(one.name, self._clock()) >= self._calm_s:
                yield self._resolved(held, one.value, one.text if figures.requests else "no requests any more")

    def _check_drift(self) -> Iterator[Alert]:
        for label, drifting in self._drifting.items():
            held = self.active.get(f"drift:{label}")
            if drifting and held is None:
                text = f"answers of {label} have drifted from those that it was validated on"
                yield Alert(f"drift:{label}", None, None, _now(), text)
            elif held is not None and not drifting:
                yield self._resolved(held, None, f"answers of {label} are again like those that it was validated on")

    def _limits(self, figures: WindowFigures) -> Iterator[_Limit]:
        settings, seconds = self._settings, f"in the last {self._settings.window_s:g} s"
        p95, failed = figures.p95 * 1000, figures.failed
        if settings.p95_ms is not None:
            text = f"95 % of requests took up to {p95:.3g} ms {seconds}, limit {settings.p95_ms:g} ms"
            yield _Limit("p95_ms", p95, settings.p95_ms, True, text)
        if settings.error_rate is not None:
            text = f"{failed:.2%} of requests failed {seconds}, limit {settings.error_rate:.2%}"
            yield _Limit("error_rate", failed, settings.error_rate, True, text)
        if settings.confidence is not None:
            missing = figures.confidence is None  # a regression has none, and then this limit never counts
            value = 1.0 if figures.confidence is None else figures.confidence
            text = "no answers with a confidence" if missing else (
                f"mean confidence was {value:.3f} {seconds}, limit {settings.confidence:g}"
            )  # fmt: skip
            yield _Limit("confidence", value, settings.confidence, False, text)

    @property
    def _calm_s(self) -> float:
        return CALM * self._settings.window_s

    def _resolved(self, held: Alert, value: float | None, text: str) -> Alert:
        self._clear_since.pop(held.name, None)
        return replace(held, value=value, message=text, resolved=_now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
