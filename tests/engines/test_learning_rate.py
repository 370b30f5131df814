from __future__ import annotations

import math
from typing import Any

import pytest

from mlstack.config import ModelConfig
from mlstack.engines.learning_rate import Schedule


def schedule_of(*, mode: str = "max", **settings: Any) -> tuple[Schedule, list[float]]:
    """A schedule of four steps in two epochs, and the factors that it sets, one after the other."""
    factors: list[float] = []
    config = ModelConfig(**settings)
    return Schedule(config, factors.append, total_steps=4, steps_per_epoch=2, mode=mode), factors


def test_the_schedule_sets_the_factor_of_each_step() -> None:
    schedule, factors = schedule_of(scheduler="warmup_cosine", warmup_fraction=0.5)
    for step in range(4):
        schedule.set(step)
    assert factors == pytest.approx([0.5, 0.5, 1.0, 1.0, 0.5])  # the first step's before anybody sets it
    schedule.observe(0.5)
    assert factors[-1] == pytest.approx(0.5)


def test_the_schedule_counts_epochs_and_takes_arguments() -> None:
    schedule, factors = schedule_of(scheduler="step", scheduler_args={"every": 1, "gamma": 0.5})
    for step in range(4):
        schedule.set(step)
    assert factors[1:] == pytest.approx([1.0, 1.0, 0.5, 0.5])


@pytest.mark.parametrize(("mode", "scores"), [("max", [0.5, 0.4, 0.4]), ("min", [0.4, 0.5, 0.5])])
def test_a_plateau_lowers_the_rate_after_the_validation(mode: str, scores: list[float]) -> None:
    schedule, factors = schedule_of(scheduler="reduce_on_plateau", scheduler_args={"patience": 1}, mode=mode)
    after = []
    for step, score in enumerate(scores):
        schedule.set(step)
        schedule.observe(score)
        after.append(factors[-1])
    schedule.set(3)
    assert [*after, factors[-1]] == pytest.approx([1.0, 1.0, 0.1, 0.1])


def test_a_schedule_goes_on_from_its_state() -> None:
    settings: dict[str, Any] = {"scheduler": "reduce_on_plateau", "scheduler_args": {"patience": 1}}
    (first, its), (second, others) = schedule_of(**settings), schedule_of(**settings)
    for score in (0.5, 0.4, math.nan, 0.4):
        first.observe(score)
    second.load_state_dict(first.state_dict())
    assert others[-1] == its[-1] == pytest.approx(0.1)
    second.observe(0.3)
    assert others[-1] == pytest.approx(0.01)


def test_a_schedule_s_state_says_the_step() -> None:
    (first, its), (second, others) = schedule_of(scheduler="cosine"), schedule_of(scheduler="cosine")
    first.set(2)
    second.load_state_dict(first.state_dict())
    assert others[-1] == its[-1] == pytest.approx(0.5)
