from __future__ import annotations

import math
import random

import pytest

from mlstack.monitoring.arm_counts import ArmCounts, LatencyHistogram


@pytest.mark.parametrize("part", [0.05, 0.5, 0.95, 0.99, 1.0])
def test_a_quantile_is_off_by_at_most_one_percent(part: float) -> None:
    rng, histogram = random.Random(0), LatencyHistogram()
    values = sorted(rng.lognormvariate(-4, 1.5) for _ in range(5000))
    for value in values:
        histogram.observe(value)
    assert histogram.quantile(part) == pytest.approx(values[math.ceil(part * len(values)) - 1], rel=0.01)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf, 1e9, 1e-9])
def test_impossible_times_are_counted_at_an_end(seconds: float) -> None:
    histogram = LatencyHistogram()
    histogram.observe(seconds)
    assert histogram.count == 1
    assert 0 < histogram.quantile(0.5) < 1100


def test_nothing_is_known_before_the_first_answer() -> None:
    assert LatencyHistogram().quantile(0.5) == 0
    assert LatencyHistogram().interval(0.5, 0.05) == (0, math.inf)
    status = ArmCounts().status(0.05)
    assert status["latency_ms"] == {"p50": None, "p95": None}
    assert status["error_rate"] is status["accuracy"] is status["confidence"] is None


@pytest.mark.parametrize("part", [0.5, 0.95])
def test_the_interval_of_a_quantile_holds_it_at_all_times(part: float) -> None:
    missed, true = 0, -math.log(1 - part)
    for seed in range(40):
        rng, histogram = random.Random(seed), LatencyHistogram()
        for _ in range(50):
            for _ in range(10):
                histogram.observe(rng.expovariate(1))
            low, high = histogram.interval(part, 0.05)
            if not low <= true <= high:
                missed += 1
                break
    assert missed <= 5
    assert 0 < low < high < math.inf


def test_an_arm_s_figures_come_with_intervals_around_them() -> None:
    counts = ArmCounts()
    for at in range(200):
        counts.record(failed=at % 20 == 0, seconds=0.01, confidence=0.9 if at % 2 else None)
        counts.feedback(right=at % 4 > 0)
    counts.record(failed=False, seconds=0.01, confidence=math.nan)
    status = counts.status(0.05)
    assert (status["requests"], status["failed"], status["labels"]) == (201, 10, 200)
    for name, value in (("error_rate", 10 / 201), ("confidence", 0.9), ("accuracy", 0.75)):
        assert status[name]["value"] == pytest.approx(value, abs=1e-6)
        assert status[name]["low"] < value < status[name]["high"]
    assert status["latency_ms"]["p50"]["value"] == pytest.approx(10, rel=0.01)
    assert status["latency_ms"]["p50"]["low"] <= 10 <= status["latency_ms"]["p50"]["high"]
    quantile = {"value": 9.9348, "low": 9.8369, "high": 10.0337}  # middle and edges of the bin, 10 µs · 1.02 ** 348.5
    assert status["latency_ms"] == {"p50": quantile, "p95": quantile}
    assert status["error_rate"]["value"] == 0.049751  # six decimals
    assert status["confidence"]["value"] == 0.9 and counts.confidence.count == 100


def test_the_shortest_and_the_longest_time_stand_at_the_ends_of_the_scale() -> None:
    for seconds, middle in ((1e-5, 1.02**0.5), (1.0201e-5, 1.02**1.5), (1e9, 1.02**930.5)):
        histogram = LatencyHistogram()
        histogram.observe(seconds)
        assert histogram.quantile(0.5) == pytest.approx(1e-5 * middle, rel=1e-6)


def test_a_quantile_is_that_of_the_first_rank_that_reaches_its_part() -> None:
    histogram = LatencyHistogram()
    for seconds in (0.001, 0.01, 0.1, 1.0):
        histogram.observe(seconds)
    found = [histogram.quantile(part) for part in (0.0, 0.25, 0.26, 0.5, 0.75, 0.76, 1.0)]
    expected = [0.001, 0.001, 0.01, 0.01, 0.1, 1.0, 1.0]
    assert found == pytest.approx(expected, rel=0.01)
