from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mlstack.config.serving import AlertConfig
from mlstack.errors import ConfigError
from mlstack.monitoring.alert_senders import MOST_WAITING, AlertSender, AlertSenders, to_webhook
from mlstack.monitoring.alerts import Alert, AlertBoard, _Limit
from mlstack.monitoring.windows import RequestWindow

ALERT = Alert("p95_ms", 250.0, 100.0, "2026-11-22T10:00:00+00:00", "slow")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Board(AlertBoard):
    """A board whose time is set by hand."""

    def __init__(self, **settings: Any) -> None:
        self.time = Clock()
        self.sent: list[Alert] = []
        super().__init__(AlertConfig(**settings), clock=self.time, send=self.sent.append)

    def answer(
        self, count: int, seconds: float = 0.01, *, failed: bool = False, confidence: float | None = 0.9
    ) -> None:
        for _ in range(count):
            self.observe(seconds, failed=failed, confidence=confidence)


def test_a_quiet_service_raises_nothing() -> None:
    board = Board()
    assert board.check() == []
    board.answer(1000)
    assert board.check() == []
    assert board.active == {}


def test_slow_answers_are_raised_once_and_resolved_once() -> None:
    board = Board()
    board.answer(90)
    board.answer(10, seconds=0.25)
    (raised,) = board.check()
    assert raised.name == "p95_ms"
    assert raised.value == pytest.approx(250, rel=0.03)
    assert raised.limit == 100
    assert board.active == {"p95_ms": raised}
    assert board.check() == []
    board.time.now += 61
    changed: list[Alert] = []
    for _ in range(40):
        board.answer(30)
        board.time.now += 1
        changed += board.check()
    (resolved,) = changed
    assert resolved.resolved is not None
    assert resolved.since == raised.since
    assert board.active == {}
    assert board.sent == [raised, resolved]


def test_failures_and_low_confidence_have_limits_too() -> None:
    board = Board()
    board.answer(98, confidence=0.45)
    board.answer(2, failed=True, confidence=None)
    alerts = {alert.name: alert for alert in board.check()}
    assert alerts.keys() == {"error_rate", "confidence"}
    assert alerts["error_rate"].value == pytest.approx(0.02)
    assert alerts["error_rate"].message == "2.00% of requests failed in the last 60 s, limit 1.00%"
    assert alerts["confidence"].value == pytest.approx(0.45)


def test_a_few_requests_are_not_judged() -> None:
    board = Board()
    board.answer(19, failed=True)
    assert board.check() == []
    board.answer(1, failed=True)
    assert [alert.name for alert in board.check()] == ["error_rate"]


def test_limits_that_are_off_and_answers_without_confidence_raise_nothing() -> None:
    board = Board(p95_ms=None, error_rate=None)
    board.answer(100, seconds=9, failed=True, confidence=None)
    assert board.check() == []
    off = Board(confidence=None)
    off.answer(100, confidence=0.1)
    assert off.check() == []


def test_a_value_that_swings_around_its_limit_does_not_flap() -> None:
    board, changes = Board(), []
    for second in range(300):
        board.answer(98)
        board.answer(2 if second % 2 else 0, failed=True)  # 0.99 % and 1.01 % in turns
        board.time.now += 1
        changes += board.check()
    assert [alert.name for alert in changes if not alert.resolved] == ["error_rate"]
    assert len(changes) == 1


def test_an_alert_ends_when_nobody_asks_any_more() -> None:
    board = Board()
    board.answer(50, failed=True)
    board.check()
    board.time.now += 61
    assert board.check() == []
    board.time.now += 15
    assert [alert.message for alert in board.check()] == ["no requests any more"]


def test_drift_is_raised_and_resolved_by_label() -> None:
    board = Board()
    board.set_drift("cats", True)
    board.set_drift("dogs", False)
    assert [alert.name for alert in board.check()] == ["drift:cats"]
    board.set_drift("cats", True)
    assert board.check() == []
    board.set_drift("cats", False)
    assert [alert.as_dict()["state"] for alert in board.check()] == ["resolved"]


def test_old_requests_leave_the_window_and_memory_stays_the_same() -> None:
    clock = Clock()
    window = RequestWindow(60, clock=clock)
    for second in range(500):
        clock.now = 1000.0 + second
        for _ in range(20):
            window.add(0.001 * (second % 7 + 1), failed=second < 300, confidence=0.5)
    figures = window.figures()
    assert figures.requests == 60 * 20
    assert figures.failed == 0
    assert figures.p95 == pytest.approx(0.007, rel=0.03)
    clock.now += 10_000
    assert window.figures().requests == 0


@pytest.mark.parametrize("seconds", [0.0, 1e-5, 1e9])
def test_latencies_beyond_the_histogram_count_at_its_ends(seconds: float) -> None:
    window = RequestWindow(60, clock=Clock())
    window.add(seconds, failed=False, confidence=None)
    assert 5e-5 < window.figures().p95 < 200


def test_the_file_gets_a_line_of_json_for_each_alert(tmp_path: Path) -> None:
    path = tmp_path / "alerts" / "警报.jsonl"
    senders = AlertSenders(AlertConfig(file=str(path)))
    senders.send(ALERT)
    senders.send(ALERT)
    senders.close()
    first, second = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(first) == json.loads(second) == ALERT.as_dict()


@contextmanager
def receiver(*statuses: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A real server that answers with these statuses one after the other, then with 200; and what it was sent."""
    got: list[dict[str, Any]] = []
    answers = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["content-type"] == "application/json"
            got.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(answers.pop(0) if answers else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/hook?token=secret", got
        finally:
            server.shutdown()
            thread.join()


def test_the_webhook_gets_the_alert_by_post() -> None:
    with receiver() as (address, got):
        senders = AlertSenders(AlertConfig(webhook=address))
        senders.send(ALERT)
        senders.close()
    assert got == [ALERT.as_dict()]


def test_the_webhook_is_tried_three_times() -> None:
    with receiver(503, 429) as (address, got):
        to_webhook(address, first_pause_s=0.001)(ALERT.as_dict(), threading.Event())
    assert len(got) == 3
    with receiver(500, 500, 500) as (address, got), pytest.raises(OSError, match="it answered 500"):
        to_webhook(address, first_pause_s=0.001)(ALERT.as_dict(), threading.Event())
    assert len(got) == 3


def test_a_refusal_that_would_repeat_itself_is_not_tried_again() -> None:
    with receiver(404) as (address, got), pytest.raises(OSError, match="it answered 404"):
        to_webhook(address)(ALERT.as_dict(), threading.Event())
    assert len(got) == 1


def test_a_destination_that_fails_is_logged_without_its_secret_and_the_next_alert_is_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("")
    with receiver(404) as (address, got), caplog.at_level(logging.WARNING):
        senders = AlertSenders(AlertConfig(webhook=address, file=str(tmp_path / "taken" / "alerts")))
        senders.send(ALERT)
        senders.send(ALERT)
        senders.close()
    assert len(got) == 2
    assert "127.0.0.1" in caplog.text
    assert "secret" not in caplog.text


def test_a_destination_that_hangs_neither_blocks_nor_fills_memory() -> None:
    go, began = threading.Event(), threading.Event()

    def hang(alert: dict[str, Any], closing: threading.Event) -> None:
        began.set()
        go.wait()

    sender = AlertSender(hang, name="nowhere")
    sender.send(ALERT)
    began.wait()
    for _ in range(MOST_WAITING + 5):
        sender.send(ALERT)
    assert sender.dropped == 5
    go.set()
    sender.close(30)
    assert sender.delivered == MOST_WAITING + 1


@pytest.mark.parametrize("address", ["ftp://example.org/x", "file:///etc/passwd", "example.org", "http://"])
def test_another_address_than_one_of_the_web_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="has to begin with http"):
        AlertSenders(AlertConfig(webhook=address))


@pytest.mark.parametrize("seconds", [6, 90])
def test_a_window_of_any_length_looks_back_that_far(seconds: int) -> None:
    clock = Clock()
    window = RequestWindow(seconds, clock=clock)
    slice_s = seconds / 60
    for number in range(200):
        clock.now = 1000.0 + number * slice_s + slice_s / 2
        window.add(0.01, failed=False, confidence=None)
    assert window.figures().requests == 60
    clock.now += 59 * slice_s
    assert window.figures().requests == 1
    clock.now += slice_s
    assert window.figures().requests == 0


@pytest.mark.parametrize(
    ("over", "limit", "passed", "held", "clear"),
    [
        (True, 100.0, 100.01, 100.0, 90.0),  # a latency has to be a tenth below its limit again
        (True, 0.01, 0.0101, 0.01, 0.009),
        (False, 0.5, 0.499, 0.5, 0.55),  # a confidence a tenth above it,
        (False, 0.95, 0.949, 0.95, 0.975),  # or half way to 1 where that is nearer
    ],
)
def test_an_alert_is_raised_beyond_its_limit_and_resolved_a_tenth_on_the_good_side(
    over: bool, limit: float, passed: float, held: float, clear: float
) -> None:
    def at(value: float) -> tuple[bool, bool]:
        one = _Limit("name", value, limit, over, "")
        return one.passed, one.clear

    less = 1e-9 if over else -1e-9
    assert at(passed) == (True, False)
    assert at(held) == (False, False)
    assert at(clear + less) == (False, False)
    assert at(clear - less) == (False, True)
