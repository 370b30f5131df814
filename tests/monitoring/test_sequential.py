from __future__ import annotations

import itertools
import math
import random

import pytest

from mlstack.monitoring.sequential import (
    LARGEST,
    MAX_BLOCK,
    BoundedMean,
    Capital,
    TwoSampleTest,
    _times_log,
    credible_counts,
    rate_interval,
)


def mean_e_value(arms: str, control: float, treated: float) -> float:
    """The exact mean over all answers that could come, in the given order of arms (c and t)."""
    total = 0.0
    for events in itertools.product((False, True), repeat=len(arms)):
        test, likelihood = TwoSampleTest(), 1.0
        for arm, event in zip(arms, events, strict=True):
            test.observe(treated=arm == "t", event=event)
            chance = treated if arm == "t" else control
            likelihood *= chance if event else 1 - chance
        total += likelihood * test.e_value
    return total


@pytest.mark.parametrize("arms", ["ct", "tc", "ccccct", "tttc", "ctctctct", "ccttctccct", "tttttttttt"])
def test_the_mean_capital_is_one_where_both_arms_are_equal_and_smaller_where_the_treated_one_is_better(
    arms: str,
) -> None:
    for rate in (0.01, 0.3, 0.9):
        assert mean_e_value(arms, rate, rate) == pytest.approx(1, abs=1e-12)
        assert mean_e_value(arms, rate, rate / 2) <= 1 + 1e-12
    assert mean_e_value(arms, 0.5, 0.2) <= 1 + 1e-12


def test_a_rate_that_changes_between_blocks_changes_nothing() -> None:
    rates = (0.02, 0.7, 0.1)
    total = 0.0
    for events in itertools.product((False, True), repeat=9):
        test, likelihood = TwoSampleTest(), 1.0
        for at, event in enumerate(events):
            test.observe(treated=at % 3 == 2, event=event)
            likelihood *= rates[at // 3] if event else 1 - rates[at // 3]
        total += likelihood * test.e_value
    assert total == pytest.approx(1, abs=1e-12)


def run(seed: int, control: float, treated: float, *, share: float, answers: int, limit: float) -> int | None:
    """Treated answers until the limit is reached; None = never."""
    rng, test = random.Random(seed), TwoSampleTest()
    while test.answers[True] < answers:
        is_treated = rng.random() < share
        test.observe(treated=is_treated, event=rng.random() < (treated if is_treated else control))
        if test.e_value >= limit:
            return test.answers[True]
    return None


@pytest.mark.parametrize(("rate", "share"), [(0.01, 0.2), (0.3, 0.5), (0.05, 0.8)])
def test_equal_arms_are_seldom_told_apart_however_often_one_looks(rate: float, share: float) -> None:
    alarms = sum(run(seed, rate, rate, share=share, answers=500, limit=20) is not None for seed in range(100))
    assert alarms <= 9  # at most 5 % are promised: 10 or more of 100 come with a chance of 3 %


@pytest.mark.parametrize("share", [0.05, 0.5, 0.75])
def test_a_worse_arm_is_found_at_any_share(share: float) -> None:
    found = [run(seed, 0.01, 0.06, share=share, answers=2000, limit=50) for seed in range(20)]
    assert None not in found


def test_a_better_arm_is_never_found_to_be_worse() -> None:
    assert all(run(seed, 0.2, 0.02, share=0.5, answers=500, limit=20) is None for seed in range(20))


def test_an_arm_that_turns_bad_late_is_found_soon() -> None:
    rng, test = random.Random(0), TwoSampleTest()
    for _ in range(20_000):
        test.observe(treated=False, event=rng.random() < 0.02)
        test.observe(treated=True, event=rng.random() < 0.02)
    assert test.e_value < 20
    late = 0
    while test.e_value < 50:
        late += 1
        test.observe(treated=False, event=rng.random() < 0.02)
        test.observe(treated=True, event=rng.random() < 0.2)
    assert late < 300


def test_one_arm_alone_says_nothing() -> None:
    test = TwoSampleTest()
    for _ in range(3 * MAX_BLOCK):
        test.observe(treated=True, event=True)
    assert test.e_value == 1
    assert (test.rate(treated=True), test.rate(treated=False)) == (1, 0)


def test_a_run_that_is_too_long_is_begun_anew() -> None:
    test = TwoSampleTest()
    for _ in range(MAX_BLOCK):
        test.observe(treated=False, event=True)
    test.observe(treated=False, event=False)
    test.observe(treated=True, event=False)
    assert test.e_value == 1  # otherwise the first answers would have been good news for the treated arm
    assert test.between_blocks


def test_capital_never_grows_beyond_what_json_can_say() -> None:
    capital = Capital()
    for _ in range(1000):
        capital.bet(event=True, chance=0.0)
    assert capital.e_value == LARGEST


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_a_certain_event_wins_nothing(chance: float) -> None:
    capital = Capital()
    for _ in range(100):
        capital.bet(event=chance == 1.0, chance=chance)
    assert capital.e_value == pytest.approx(1)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.3, 0.97, 1.0])
def test_the_interval_of_a_rate_holds_it_at_all_times(rate: float) -> None:
    missed = 0
    for seed in range(100):
        rng, events = random.Random(seed), 0
        for answers in range(1, 301):
            events += rng.random() < rate
            if answers % 5:  # a look is dear, and few of them miss nothing: intervals change slowly
                continue
            low, high = rate_interval(events, answers, 0.05)
            if not low <= rate <= high:
                missed += 1
                break
    assert missed <= 9


def test_the_interval_of_a_rate_narrows_and_holds_the_rate_that_was_seen() -> None:
    assert rate_interval(0, 0, 0.05) == (0, 1)
    widths = []
    for answers in (10, 100, 1000, 100_000):
        low, high = rate_interval(answers // 10, answers, 0.05)
        assert 0 < low < 0.1 < high < 1
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.01
    assert rate_interval(0, 50, 0.05)[0] == 0
    assert rate_interval(50, 50, 0.05)[1] == 1


@pytest.mark.parametrize("answers", [0, 1, 7, 200])
@pytest.mark.parametrize("chance", [0.05, 0.5, 0.95])
def test_credible_counts_are_those_whose_interval_holds_the_chance(chance: float, answers: int) -> None:
    low, high = credible_counts(chance, answers, 0.05)
    holding = [
        events
        for events in range(answers + 1)
        if rate_interval(events, answers, 0.05)[0] <= chance <= rate_interval(events, answers, 0.05)[1]
    ]
    assert (low, high) == (holding[0], holding[-1])


def test_the_interval_of_a_mean_holds_it_at_all_times() -> None:
    missed = 0
    for seed in range(100):
        rng, mean = random.Random(seed), BoundedMean()
        for _ in range(400):
            mean.observe(rng.betavariate(8, 2))
            low, high = mean.interval(0.05)
            if not low <= 0.8 <= high:
                missed += 1
                break
    assert missed <= 9


def test_the_interval_of_a_mean_is_narrower_for_values_that_lie_close_together() -> None:
    close, wide = BoundedMean(), BoundedMean()
    assert close.interval(0.05) == (0, 1)
    for at in range(2000):
        close.observe(0.79 + 0.02 * (at % 2))
        wide.observe(float(at % 5 > 0))
    widths = [high - low for low, high in (close.interval(0.05), wide.interval(0.05))]
    assert widths[0] < 0.2 * widths[1] < 0.02
    assert close.mean == pytest.approx(0.8)
    assert wide.mean == pytest.approx(0.8)


def test_values_beyond_zero_and_one_are_moved_to_the_ends() -> None:
    mean = BoundedMean()
    for value in (-3.0, 7.0, math.inf):
        mean.observe(value)
    assert mean.mean == pytest.approx(2 / 3)


def test_what_never_happens_is_refuted_by_happening_once_and_not_by_never() -> None:
    assert [_times_log(count, chance) for count, chance in ((0, 0), (0, 0.5), (2, 1), (2, 0))] == [0, 0, 0, -math.inf]
    assert _times_log(2, 0.5) == pytest.approx(-1.3862943611)
