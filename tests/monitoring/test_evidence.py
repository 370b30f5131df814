from __future__ import annotations

import random

import pytest

from mlstack.config.serving import RolloutConfig
from mlstack.monitoring.evidence import PARTS, Evidence, Finding


def watch(
    answers: int,
    *,
    stable: float = 0.01,
    canary: float = 0.01,
    slower: float = 1.0,
    late: float = 1.0,
    seed: int = 0,
    rules: RolloutConfig | None = None,
) -> tuple[Evidence, Finding | None]:
    """A canary with a tenth of the traffic; `late` slows one of its answers in five."""
    rng, evidence = random.Random(seed), Evidence(rules or RolloutConfig())
    while evidence.answers < answers:
        is_canary = rng.random() < 0.1
        seconds = rng.lognormvariate(-4, 0.5)
        if is_canary:
            seconds *= slower * (late if rng.random() < 0.2 else 1)
        evidence.record(canary=is_canary, failed=rng.random() < (canary if is_canary else stable), seconds=seconds)
        found = evidence.finding()
        if found is not None:
            return evidence, found
    return evidence, None


def test_the_parts_of_alpha_add_up_to_all_of_it() -> None:
    assert sum(PARTS.values()) == pytest.approx(1)
    assert set(Evidence(RolloutConfig()).e_values()) == set(Evidence(RolloutConfig()).e_limits) == set(PARTS)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_found_against_a_canary_that_is_no_worse(seed: int) -> None:
    assert watch(1000, seed=seed)[1] is None


def test_a_canary_that_fails_more_often_is_found_and_the_sentence_says_how_often() -> None:
    evidence, found = watch(2000, canary=0.06)
    assert found is not None
    assert evidence.answers < 600
    assert f"of {evidence.answers} answers failed" in found.reason
    assert "more than 2 times as many" in found.reason
    assert found.e_value >= evidence.e_limits["failures"]


def test_a_canary_that_always_fails_needs_no_hundred_answers() -> None:
    evidence, found = watch(100, canary=1.0)
    assert found is not None
    assert evidence.answers < 10


def test_three_failures_of_a_hundred_against_one_percent_are_no_reason() -> None:
    evidence = Evidence(RolloutConfig())
    for at in range(9900):
        evidence.record(canary=False, failed=at % 100 == 50, seconds=0.01)
        if at % 99 == 0:
            evidence.record(canary=True, failed=at in (99 * 30, 99 * 60, 99 * 90), seconds=0.01)
    assert evidence.answers == 100
    assert evidence.finding() is None


def test_figures_beyond_the_relative_limit_raise_doubt_before_they_prove_anything() -> None:
    evidence = Evidence(RolloutConfig())
    for at in range(200):
        evidence.record(canary=at % 2 == 0, failed=at in (21, 20, 60, 100, 140, 180), seconds=0.01)
    assert evidence.finding() is None
    doubt = "5.00% of 100 answers failed, of the stable model 1.00% so far, allowed 2 times as many"
    assert evidence.doubt() == doubt


def test_too_many_failures_are_too_many_even_if_the_stable_model_fails_as_often() -> None:
    evidence, found = watch(2000, stable=0.15, canary=0.15)
    assert found is not None
    assert found.reason.endswith("answers failed, allowed 5.00%")
    assert evidence.answers >= 100


def test_rates_just_below_the_limit_are_no_reason() -> None:
    assert watch(1000, stable=0.04, canary=0.04)[1] is None


@pytest.mark.parametrize(("slower", "late", "name"), [(3.0, 1.0, "p50"), (1.0, 20.0, "p95")])
def test_a_canary_that_is_too_slow_in_the_middle_or_at_the_end_is_found(slower: float, late: float, name: str) -> None:
    evidence, found = watch(1000, slower=slower, late=late)
    assert found is not None
    assert f"2 times the stable model's {name}" in found.reason
    assert evidence.answers >= 100


def test_a_canary_that_is_slower_within_the_limit_is_left_alone() -> None:
    assert watch(1000, slower=1.8)[1] is None


def test_a_canary_that_is_wrong_more_often_is_found_by_feedback() -> None:
    rng, evidence = random.Random(0), Evidence(RolloutConfig())
    found = None
    while found is None and evidence.wrong.answers[True] < 2000:
        canary = rng.random() < 0.1
        evidence.feedback(canary=canary, right=rng.random() < (0.7 if canary else 0.9))
        found = evidence.finding()
    assert found is not None
    assert "answers with a known label were wrong" in found.reason


def test_the_only_failure_of_a_canary_raises_no_doubt() -> None:
    evidence = Evidence(RolloutConfig())
    for at in range(200):
        evidence.record(canary=at % 2 == 0, failed=at == 100, seconds=0.01)
    assert evidence.doubt() is None
    assert evidence.finding() is None


def test_a_slow_canary_raises_doubt_before_it_is_found() -> None:
    evidence = Evidence(RolloutConfig(min_requests=1000))
    for at in range(200):
        evidence.record(canary=at % 2 == 0, failed=False, seconds=0.05 if at % 2 == 0 else 0.01)
    assert evidence.finding() is None
    assert "half of the answers took more than" in str(evidence.doubt())


def test_without_a_stable_model_only_the_absolute_limit_counts() -> None:
    evidence = Evidence(RolloutConfig())
    for at in range(300):
        evidence.record(canary=True, failed=at % 2 == 0, seconds=10.0)
    found = evidence.finding()
    assert found is not None and found.reason.endswith("allowed 5.00%")
