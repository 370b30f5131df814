from __future__ import annotations

import pytest

from mlstack.engines.schedules import schedule_factor
from mlstack.errors import ConfigError


@pytest.mark.parametrize("step", [0, 7, 100, 101])
def test_constant_stays_at_the_peak(step: int) -> None:
    assert schedule_factor("constant", step, total_steps=100) == 1


@pytest.mark.parametrize(("step", "factor"), [(0, 1.0), (25, 0.8535533906), (50, 0.5), (75, 0.1464466094), (100, 0.0)])
def test_cosine_falls_from_the_peak_to_nothing(step: int, factor: float) -> None:
    assert schedule_factor("cosine", step, total_steps=100) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("step", "factor"),
    # 10 of 110 steps up in equal parts, 100 down on the cosine
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (60, 0.5), (85, 0.1464466094), (110, 0.0)],
)
def test_warm_up_climbs_to_the_peak_and_then_follows_the_cosine(step: int, factor: float) -> None:
    assert schedule_factor("warmup_cosine", step, total_steps=110, warmup_fraction=1 / 11) == pytest.approx(factor)


def test_without_warm_up_it_is_the_cosine() -> None:
    for step in (0, 3, 10):
        warmed = schedule_factor("warmup_cosine", step, total_steps=10, warmup_fraction=0)
        assert warmed == schedule_factor("cosine", step, total_steps=10)


@pytest.mark.parametrize("name", ["cosine", "warmup_cosine"])
def test_beyond_its_end_the_cosine_stays_at_nothing(name: str) -> None:
    assert schedule_factor(name, 12, total_steps=10, warmup_fraction=0.5) == 0
    assert schedule_factor(name, 1, total_steps=0) == 0


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.scheduler=linear is unknown"):
        schedule_factor("linear", 0, total_steps=1)
