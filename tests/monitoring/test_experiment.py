from __future__ import annotations

import json
import random
from typing import Any

import pytest

from mlstack.config.serving import RolloutConfig
from mlstack.errors import ConfigError
from mlstack.monitoring.experiment import Experiment

RULES = RolloutConfig(step_requests=50, step_seconds=0)
USERS = [f"user-{number}" for number in range(5000)]


def canary_experiment(rules: RolloutConfig = RULES) -> Experiment:
    return Experiment(["a", "b"], stable="a", split=None, canary="b", rules=rules)


def live(experiment: Experiment, requests: int, *, failures: dict[str, float], seed: int = 0) -> list[str]:
    """Users ask, the arm that is chosen answers; the kinds of all decisions."""
    rng, kinds = random.Random(seed), []
    for _ in range(requests):
        arm = experiment.choose(str(rng.random()))
        failed = rng.random() < failures[arm]
        decisions = experiment.record(arm, failed=failed, seconds=rng.lognormvariate(-4, 0.5), confidence=rng.random())
        kinds += [decision.kind for decision in decisions]
    return kinds


def part_of(experiment: Experiment, arm: str) -> float:
    return sum(experiment.choose(user) == arm for user in USERS) / len(USERS)


def test_a_good_canary_takes_over_all_traffic() -> None:
    experiment = canary_experiment()
    assert part_of(experiment, "b") == pytest.approx(0.01, abs=0.006)
    kinds = live(experiment, 12_000, failures={"a": 0.01, "b": 0.0})
    assert kinds == ["advanced", "advanced", "advanced", "promoted"]
    assert part_of(experiment, "b") == 1


def test_a_bad_canary_gets_no_traffic_any_more() -> None:
    experiment = canary_experiment()
    kinds = live(experiment, 12_000, failures={"a": 0.0, "b": 0.5})
    assert kinds == ["rolled_back"]
    assert part_of(experiment, "b") == 0
    status = experiment.status()
    assert status["canary"]["state"] == "rolled_back"
    assert [one["kind"] for one in status["decisions"]] == ["rolled_back"]


def test_a_canary_that_is_wrong_more_often_is_rolled_back_by_feedback() -> None:
    experiment, rng = canary_experiment(), random.Random(0)
    decisions = []
    for _ in range(300):
        decisions += experiment.feedback("a", right=rng.random() < 0.9)
        decisions += experiment.feedback("b", right=rng.random() < 0.4)
    assert [one.kind for one in decisions] == ["rolled_back"]
    assert part_of(experiment, "b") == 0
    assert experiment.status()["arms"]["b"]["accuracy"]["high"] < experiment.status()["arms"]["a"]["accuracy"]["low"]


def test_what_a_hand_decides_moves_the_traffic_at_once() -> None:
    experiment = canary_experiment()
    experiment.promote()
    assert part_of(experiment, "b") == 1
    experiment.rollback("by hand")
    assert part_of(experiment, "b") == 0
    experiment.set_share(25)
    assert part_of(experiment, "b") == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("arm", ["a", "b"])
def test_what_was_counted_of_a_model_is_forgotten_when_another_version_replaces_it(arm: str) -> None:
    experiment = canary_experiment()
    experiment.set_share(50)
    live(experiment, 40, failures={"a": 0.0, "b": 0.0})
    experiment.replaced(arm)
    status = experiment.status()
    assert status["arms"][arm]["requests"] == 0
    assert status["arms"]["b" if arm == "a" else "a"]["requests"] > 0
    assert set(status["comparisons"]["b"]["e_values"].values()) == {1}
    assert status["canary"]["answers"] == 0
    assert experiment.shares() == pytest.approx({"a": 0.5, "b": 0.5} if arm == "a" else {"a": 0.99, "b": 0.01})


def test_a_canary_takes_its_share_from_the_arms_of_a_split() -> None:
    experiment = Experiment(["a", "b", "c"], stable="a", split={"a": 3, "b": 1}, canary="c", rules=RULES)
    experiment.set_share(20)
    shares = {arm: figures["share"] for arm, figures in experiment.status()["arms"].items()}
    assert shares == {"a": 60, "b": 20, "c": 20}
    assert part_of(experiment, "b") == pytest.approx(0.2, abs=0.03)
    assert experiment.record("b", failed=True, seconds=1.0, confidence=None) == []


def test_a_plain_split_has_no_canary_to_promote() -> None:
    experiment = Experiment(["a", "b"], stable="a", split={"a": 90, "b": 10}, canary=None, rules=RULES)
    assert experiment.status()["canary"] is None
    for act in (experiment.promote, lambda: experiment.rollback("x"), lambda: experiment.set_share(5)):
        with pytest.raises(ValueError, match="no canary"):
            act()


def test_arms_of_a_split_are_compared_with_the_stable_one() -> None:
    experiment = Experiment(["a", "b"], stable="a", split={"a": 1, "b": 1}, canary=None, rules=RULES)
    rng = random.Random(1)
    for _ in range(3000):
        for arm, failures, seconds, right, confidence in (("a", 0.02, 0.01, 0.7, 0.6), ("b", 0.2, 0.03, 0.9, 0.8)):
            experiment.record(arm, failed=rng.random() < failures, seconds=seconds, confidence=confidence)
            experiment.feedback(arm, right=rng.random() < right)
    compared = experiment.status()["comparisons"]["b"]
    assert 0 < compared["error_rate"]["low"] < 0.18 < compared["error_rate"]["high"]
    assert 0 < compared["accuracy"]["low"] < 0.2 < compared["accuracy"]["high"]
    assert 0.1 < compared["confidence"]["low"] < 0.2 < compared["confidence"]["high"]
    assert 2.8 < compared["latency_p50_ratio"]["low"] <= 3 <= compared["latency_p50_ratio"]["high"] < 3.2
    assert compared["e_values"]["more_failures"] > 1e6 > 1 > compared["e_values"]["fewer_failures"]
    assert compared["e_values"]["fewer_wrong"] > 1e6 > 1 > compared["e_values"]["more_wrong"]


def test_equal_arms_are_not_told_apart() -> None:
    experiment = Experiment(["a", "b"], stable="a", split={"a": 1, "b": 1}, canary=None, rules=RULES)
    live(experiment, 4000, failures={"a": 0.05, "b": 0.05})
    compared = experiment.status()["comparisons"]["b"]
    for name, equal in (("error_rate", 0), ("accuracy", 0), ("confidence", 0), ("latency_p50_ratio", 1)):
        assert compared[name]["low"] < equal < compared[name]["high"]
    assert max(compared["e_values"].values()) < 20


@pytest.mark.parametrize("requests", [0, 1, 300])
def test_the_status_is_json_from_the_first_request_on(requests: int) -> None:
    experiment = canary_experiment()
    live(experiment, requests, failures={"a": 0.1, "b": 0.1})
    status = json.loads(json.dumps(experiment.status(), allow_nan=False))
    assert status["stable"] == "a"
    assert status["level"] == 0.95
    assert sum(figures["requests"] for figures in status["arms"].values()) == requests


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stable": "x"}, "stable names 'x'"),
        ({"canary": "x"}, r"serve\.canary names 'x'"),
        ({"split": {"a": 1, "x": 1}}, r"serve\.split names 'x'"),
        ({"canary": "a"}, r"serve\.canary=a is also the stable model"),
        ({"split": {"a": 1, "b": 1}, "canary": "b"}, r"serve\.canary=b is also"),
        ({"split": {"a": 0}}, r"serve\.split gives no arm a share"),
    ],
)
def test_arms_that_cannot_work_are_refused(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"stable": "a", "split": None, "canary": None, "rules": RULES, **changes}
    with pytest.raises(ConfigError, match=message):
        Experiment(["a", "b"], **arguments)
