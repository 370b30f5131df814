from __future__ import annotations

import math
from typing import Any

import pytest

from mlstack.config.model import SCHEDULERS
from mlstack.engines.schedules import FACTORS, Plateau, schedule_factor
from mlstack.errors import ConfigError


def factor(name: str, step: int, *, total: int = 100, epoch: int = 10, warmup: float = 0.0, **args: Any) -> float:
    return schedule_factor(name, step, total_steps=total, steps_per_epoch=epoch, warmup_fraction=warmup, args=args)


@pytest.mark.parametrize("step", [0, 7, 100, 101])
def test_constant_stays_at_the_peak(step: int) -> None:
    assert factor("constant", step) == 1


@pytest.mark.parametrize(
    ("step", "expected"),
    # every 2 epochs of 10 steps: halved at steps 20, 40, 60, …
    [(0, 1.0), (19, 1.0), (20, 0.5), (39, 0.5), (40, 0.25), (99, 0.0625)],
)
def test_step_drops_every_so_many_epochs(step: int, expected: float) -> None:
    assert factor("step", step, every=2, gamma=0.5) == pytest.approx(expected)


@pytest.mark.parametrize(("step", "expected"), [(0, 1.0), (29, 1.0), (30, 0.1), (74, 0.1), (75, 0.01), (99, 0.01)])
def test_step_drops_at_its_milestones(step: int, expected: float) -> None:
    assert factor("step", step, milestones=[3, 7.5]) == pytest.approx(expected)


@pytest.mark.parametrize(("step", "expected"), [(0, 1.0), (49, 1.0), (50, 0.1), (74, 0.1), (75, 0.01), (99, 0.01)])
def test_step_drops_after_half_and_three_quarters_unless_told(step: int, expected: float) -> None:
    assert factor("step", step) == pytest.approx(expected)


@pytest.mark.parametrize(("step", "expected"), [(0, 1.0), (25, 0.8535533906), (50, 0.5), (75, 0.1464466094), (100, 0)])
def test_cosine_falls_from_the_peak_to_nothing(step: int, expected: float) -> None:
    assert factor("cosine", step) == pytest.approx(expected)


def test_a_final_factor_is_where_the_cosine_ends() -> None:
    # 0.2 + 0.8 · (1 + cos(π/2)) / 2 = 0.6 in the middle
    assert [factor("cosine", step, final_factor=0.2) for step in (0, 50, 100)] == pytest.approx([1.0, 0.6, 0.2])
    # 10 steps up, 90 down, the middle of which is step 55
    warmed = [factor("warmup_cosine", step, warmup=0.1, final_factor=0.2) for step in (9, 55, 100)]
    assert warmed == pytest.approx([1.0, 0.6, 0.2])


@pytest.mark.parametrize(
    ("step", "expected"),
    # 10 of 110 steps up in equal parts, 100 down on the cosine
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (60, 0.5), (85, 0.1464466094), (110, 0.0)],
)
def test_warm_up_climbs_to_the_peak_and_then_follows_the_cosine(step: int, expected: float) -> None:
    assert factor("warmup_cosine", step, total=110, warmup=1 / 11) == pytest.approx(expected)


def test_without_warm_up_it_is_the_cosine() -> None:
    for step in (0, 3, 10):
        assert factor("warmup_cosine", step, total=10) == factor("cosine", step, total=10)


@pytest.mark.parametrize("name", ["cosine", "warmup_cosine", "cosine_restarts"])
def test_beyond_its_end_the_cosine_stays_at_nothing(name: str) -> None:
    assert factor(name, 12, total=10, warmup=0.5) == 0
    assert factor(name, 1, total=0) == 0


@pytest.mark.parametrize(
    ("step", "expected"),
    # three cycles, each twice as long as the last: 10 + 20 + 40 = 70 steps; the middles are 5, 20 and 50
    [(0, 1.0), (5, 0.5), (10, 1.0), (20, 0.5), (30, 1.0), (50, 0.5), (70, 0.0)],
)
def test_the_cosine_restarts_in_cycles_that_fill_the_run(step: int, expected: float) -> None:
    assert factor("cosine_restarts", step, total=70) == pytest.approx(expected)


def test_equal_cycles_that_are_no_whole_steps_restart_at_the_first_step_after() -> None:
    # 100 / 3 = 33.33 steps: restarts at steps 34 (0.67 into its cycle) and 67 (0.33)
    rates = [factor("cosine_restarts", step, cycles=3, mult=1) for step in range(100)]
    assert [step for step in range(1, 100) if rates[step] > rates[step - 1]] == [34, 67]
    assert rates[34] == pytest.approx((1 + math.cos(math.pi * (2 / 3) / (100 / 3))) / 2)


def test_the_first_cycle_can_be_given_in_epochs() -> None:
    # 1.5 epochs of 10 steps = 15, then 15 · 3 = 45: a restart at 15, the next one at 60
    rates = [factor("cosine_restarts", step, first_cycle=1.5, mult=3) for step in (0, 15, 60)]
    assert rates == pytest.approx([1, 1, 1])
    assert factor("cosine_restarts", 59, first_cycle=1.5, mult=3) < 0.01


@pytest.mark.parametrize(
    ("step", "expected"),
    # 21 of 101 steps: from 0.1 at step 0 to 1 at step 0.2079 · 101 - 1 = 20, then 80 steps down to 0.1 / 10 = 0.01
    [(0, 0.1), (10, 0.55), (20, 1.0), (60, 0.505), (100, 0.01), (101, 0.01)],
)
def test_one_cycle_climbs_and_falls_in_straight_lines(step: int, expected: float) -> None:
    got = factor("one_cycle", step, total=101, warmup=21 / 101, div_factor=10, final_div_factor=10)
    assert got == pytest.approx(expected)


def test_one_cycle_on_cosines_is_halfway_where_the_line_is() -> None:
    # a quarter down: 1 - 0.99 · (1 - cos(π / 4)) / 2 = 0.855018
    args = {"div_factor": 10, "final_div_factor": 10, "anneal": "cosine"}
    rates = [factor("one_cycle", step, total=101, warmup=21 / 101, **args) for step in (10, 40, 60)]
    assert rates == pytest.approx([0.55, 0.8550180, 0.505])


@pytest.mark.parametrize("total", [1, 2, 5])
def test_one_cycle_of_a_few_steps_starts_at_the_peak_when_none_is_left_to_climb(total: int) -> None:
    assert factor("one_cycle", 0, total=total, warmup=0.05) == 1
    assert factor("one_cycle", total, total=total, warmup=0.05) == pytest.approx(1 / 25e4)


def test_every_schedule_of_the_settings_is_known_and_stays_between_nothing_and_the_peak() -> None:
    assert tuple(FACTORS) == SCHEDULERS
    for name in SCHEDULERS:
        rates = [factor(name, step, warmup=0.05) for step in range(101)]
        assert 0 <= min(rates) <= max(rates) <= 1 + 1e-12 and max(rates) > 0.9, name


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.scheduler=linear is unknown"):
        factor("linear", 0)


SCORES = [0.5, 0.6, 0.6, 0.59, 0.58, 0.6, 0.61, 0.1, 0.1, math.nan, 0.1, 0.1, 0.1, 0.1, 0.1]


def shares(plateau: Plateau, scores: list[float]) -> list[float]:
    found = []
    for score in scores:
        plateau.observe(score)
        found.append(plateau.share)
    return found


def test_a_plateau_shrinks_the_rate_after_more_than_its_patience() -> None:
    # The best is the second score; two without a better one are borne, the third halves. The wait then starts anew.
    found = shares(Plateau(patience=2, factor=0.5), [0.5, 0.6, 0.6, 0.59, 0.58, 0.6, 0.6, 0.6, 0.7, 0.6])
    assert found == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_with_mode_min_less_is_better() -> None:
    assert shares(Plateau(mode="min", patience=0), [0.6, 0.5, 0.4]) == [1, 1, 1]
    assert shares(Plateau(mode="min", patience=0), [0.4, 0.5]) == pytest.approx([1, 0.1])


def test_a_plateau_stops_at_its_least_share() -> None:
    assert shares(Plateau(patience=0, min_factor=0.05), [1, 0, 0, 0]) == pytest.approx([1, 0.1, 0.05, 0.05])


def test_a_plateau_goes_on_from_its_state() -> None:
    whole, first, second = (Plateau(patience=2) for _ in range(3))
    expected = shares(whole, SCORES)
    begun = shares(first, SCORES[:4])
    second.load_state_dict(first.state_dict())
    assert begun + shares(second, SCORES[4:]) == expected
    assert expected[-1] < 1
