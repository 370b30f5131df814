from __future__ import annotations

import numpy as np
import pytest

from mlstack.serving.traffic import Traffic


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def traffic(clock: Clock) -> Traffic:
    return Traffic(clock)


def test_without_requests_there_are_rates_of_0_and_no_latencies(traffic: Traffic) -> None:
    assert traffic.summary() == {
        "requests_per_s": 0.0, "images_per_s": 0.0, "errors_per_s": 0.0,
        "p50_ms": None, "p95_ms": None, "p99_ms": None, "batch_mean": None,
    }  # fmt: skip


def test_rates_are_those_of_the_last_ten_whole_seconds(traffic: Traffic, clock: Clock) -> None:
    for _ in range(12):
        for number in range(20):
            traffic.record(0.01, images=2, failed=number == 0)
        clock.now += 1
    traffic.record(0.01, images=1000, failed=True)  # of a second that is not over
    summary = traffic.summary()
    assert (summary["requests_per_s"], summary["images_per_s"], summary["errors_per_s"]) == (20, 40, 1)


@pytest.mark.parametrize("middle", [0.0003, 0.004, 0.05, 2.0])
def test_percentiles_are_right_to_15_percent(traffic: Traffic, middle: float) -> None:
    seconds = middle * np.random.default_rng(0).lognormal(0, 0.6, 2000)
    for one in seconds:
        traffic.record(float(one), images=1, failed=False)
    summary = traffic.summary()
    for share in (50, 95, 99):
        assert summary[f"p{share}_ms"] == pytest.approx(1000 * np.percentile(seconds, share), rel=0.15)


def test_one_latency_is_told_to_8_percent_and_extremes_are_counted_too(traffic: Traffic, clock: Clock) -> None:
    for one in np.geomspace(0.0002, 90, 50):
        clock.now += 100
        traffic.record(float(one), images=1, failed=False)
        assert traffic.summary()["p50_ms"] == pytest.approx(1000 * one, rel=0.08, abs=0.006)
    for one in (0.0, 1e6):
        clock.now += 100
        traffic.record(one, images=1, failed=False)
        assert traffic.summary()["p99_ms"] is not None


def test_seconds_that_are_over_are_forgotten(traffic: Traffic, clock: Clock) -> None:
    traffic.record(1.0, images=1, failed=False)
    traffic.batch(8)
    clock.now += 59
    traffic.record(0.01, images=1, failed=False)
    assert traffic.summary()["p99_ms"] == pytest.approx(1000, rel=0.08)
    clock.now += 1
    summary = traffic.summary()
    assert summary["p99_ms"] == pytest.approx(10, rel=0.08)
    assert summary["batch_mean"] is None
    clock.now += 3600
    assert traffic.summary()["p50_ms"] is None


def test_the_mean_batch_is_that_of_the_last_minute(traffic: Traffic, clock: Clock) -> None:
    traffic.batch(1)
    clock.now += 30
    traffic.batch(4)
    assert traffic.summary()["batch_mean"] == 2.5
    clock.now += 30
    assert traffic.summary()["batch_mean"] == 4
