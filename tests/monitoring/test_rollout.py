from __future__ import annotations

import json
from typing import Any

import pytest

from mlstack.config.serving import RolloutConfig
from mlstack.errors import ConfigError
from mlstack.monitoring.rollout import KEPT_DECISIONS, Decision, Rollout


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def rollout(clock: Clock, **rules: Any) -> Rollout:
    return Rollout(
        RolloutConfig(**{"step_requests": 10, "step_seconds": 60.0, "min_requests": 5, **rules}), clock=clock
    )


def answer(rollout: Rollout, pairs: int, *, failed: bool = False) -> list[Decision]:
    """A stable answer and one of the canary, so many times; the decisions."""
    decisions = []
    for _ in range(pairs):
        decisions += rollout.record(canary=False, failed=False, seconds=0.01)
        decisions += rollout.record(canary=True, failed=failed, seconds=0.01)
    return decisions


def test_a_good_canary_goes_through_all_steps_and_is_promoted(clock: Clock) -> None:
    canary, shares = rollout(clock), []
    for _ in range(4):
        clock.now += 60
        decisions = answer(canary, 10)
        assert len(decisions) == 1
        shares.append((decisions[0].kind, decisions[0].before, decisions[0].after))
    assert shares == [("advanced", 1, 5), ("advanced", 5, 25), ("advanced", 25, 50), ("promoted", 50, 100)]
    assert (canary.state, canary.share) == ("promoted", 100)
    assert answer(canary, 100, failed=True) == []


def test_a_step_takes_both_its_answers_and_its_time(clock: Clock) -> None:
    canary = rollout(clock)
    assert answer(canary, 50) == []
    clock.now += 59
    assert answer(canary, 1) == []
    clock.now += 1
    assert canary.record(canary=False, failed=False, seconds=0.01)[0].after == 5
    clock.now += 1000
    assert answer(canary, 9) == []


def test_a_bad_canary_loses_its_share_until_a_hand_gives_it_another(clock: Clock) -> None:
    canary = rollout(clock)
    answer(canary, 5)
    decisions = answer(canary, 50, failed=True)
    assert [(one.kind, one.before, one.after) for one in decisions] == [("rolled_back", 1, 0)]
    assert "answers failed" in decisions[0].reason
    assert decisions[0].e_value > 50
    assert (canary.state, canary.share) == ("rolled_back", 0)
    clock.now += 10_000
    assert answer(canary, 100) == []
    assert canary.set_share(5).after == 5
    clock.now += 60
    assert [one.kind for one in answer(canary, 10)] == ["advanced"]


def test_figures_beyond_a_limit_that_prove_nothing_yet_make_the_next_step_wait(clock: Clock) -> None:
    canary = rollout(clock, step_requests=20)
    clock.now += 60
    answer(canary, 10)
    answer(canary, 2, failed=True)
    assert answer(canary, 20) == []
    assert "answers failed so far" in canary.status()["waits_because"]
    assert [one.kind for one in answer(canary, 60)] == ["advanced"]


def test_without_automatic_each_advice_is_given_once_and_nothing_changes(clock: Clock) -> None:
    canary = rollout(clock, automatic=False)
    clock.now += 60
    advice = answer(canary, 30)
    assert [(one.kind, one.before, one.after) for one in advice] == [("advice", 1, 5)]
    advice = answer(canary, 60, failed=True)
    assert [(one.kind, one.before, one.after) for one in advice] == [("advice", 1, 0)]
    assert (canary.state, canary.share) == ("running", 1)
    assert canary.rollback("as advised").kind == "rolled_back"


def test_a_hand_may_do_anything_at_any_time(clock: Clock) -> None:
    canary = rollout(clock)
    kinds = [canary.promote(), canary.rollback("it looks odd"), canary.promote(), canary.set_share(30)]
    assert [(one.kind, one.before, one.after) for one in kinds] == [
        ("promoted", 1, 100),
        ("rolled_back", 100, 0),
        ("promoted", 0, 100),
        ("share_set", 100, 30),
    ]
    assert kinds[1].reason == "it looks odd"
    clock.now += 60
    assert [one.after for one in answer(canary, 10)] == [50]
    canary.set_share(0)
    assert canary.state == "stopped"
    assert canary.set_share(100).kind == "share_set"
    assert canary.state == "promoted"


def test_whoever_begins_again_begins_without_old_evidence(clock: Clock) -> None:
    canary = rollout(clock)
    answer(canary, 50, failed=True)
    canary.set_share(5)
    assert canary.status()["answers"] == 0
    assert answer(canary, 5) == []


def test_a_share_set_on_the_way_keeps_the_evidence(clock: Clock) -> None:
    canary = rollout(clock)
    answer(canary, 7)
    canary.set_share(25)
    assert (canary.status()["answers"], canary.status()["step_answers"]) == (7, 0)


def test_another_version_of_a_running_canary_begins_at_the_first_step(clock: Clock) -> None:
    canary = rollout(clock)
    canary.set_share(50)
    answer(canary, 7)
    decisions = canary.replaced(canary=True)
    assert [(one.kind, one.before, one.after) for one in decisions] == [("share_set", 50, 1)]
    assert canary.status()["answers"] == 0
    answer(canary, 7)
    assert canary.replaced(canary=False) == []
    assert (canary.share, canary.status()["answers"]) == (1, 0)


@pytest.mark.parametrize("by_hand", ["promote", "roll back"])
def test_another_version_changes_nothing_once_the_rollout_is_over(clock: Clock, by_hand: str) -> None:
    canary = rollout(clock)
    decision = canary.promote() if by_hand == "promote" else canary.rollback("no")
    assert canary.replaced(canary=True) == []
    assert canary.share == decision.after


@pytest.mark.parametrize("percent", [-1, 100.5, float("nan"), float("inf")])
def test_a_share_beyond_zero_to_hundred_is_refused(clock: Clock, percent: float) -> None:
    with pytest.raises(ValueError, match="allowed 0 to 100"):
        rollout(clock).set_share(percent)


def test_the_last_step_may_be_less_than_all_traffic(clock: Clock) -> None:
    canary = rollout(clock, steps=[10, 20])
    for _ in range(3):
        clock.now += 60
        answer(canary, 20)
    assert (canary.state, canary.share, canary.status()["next_share"]) == ("running", 20, None)


@pytest.mark.parametrize("steps", [[], [5, 1], [1, 1], [50, 101], [0, 5]])
def test_steps_that_do_not_rise_are_refused(clock: Clock, steps: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"serve\.rollout\.steps"):
        rollout(clock, steps=steps)


def test_the_newest_decisions_are_kept(clock: Clock) -> None:
    canary = rollout(clock)
    for at in range(KEPT_DECISIONS + 50):
        clock.now += 1
        canary.set_share(at % 100)
    assert len(canary.decisions) == KEPT_DECISIONS
    assert canary.decisions[-1].as_dict() == {
        "kind": "share_set",
        "from": 48,
        "to": 49,
        "reason": "by hand",
        "at": "2023-11-14T22:15:50.000Z",
        "e_value": 1.0,
    }
    json.dumps(canary.status(), allow_nan=False)


def test_wrong_answers_count_as_much_as_failed_ones(clock: Clock) -> None:
    canary, decisions = rollout(clock), []
    for _ in range(100):
        decisions += canary.feedback(canary=False, right=True)
        decisions += canary.feedback(canary=True, right=False)
    assert [one.kind for one in decisions] == ["rolled_back"]
