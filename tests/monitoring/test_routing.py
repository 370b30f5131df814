from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import Any

import pytest

from mlstack.errors import ConfigError
from mlstack.monitoring.routing import Router

PLACES = (0.7600520195265208, 0.1404971365617772)
USERS = [f"user-{number}" for number in range(20_000)]


@pytest.mark.parametrize("seed", range(8))
def test_each_arm_gets_its_share_whatever_the_weights_add_up_to(seed: int) -> None:
    rng = random.Random(seed)
    weights = {f"arm-{number}": rng.choice([0, 1, 5, 0.3, 100 * rng.random()]) for number in range(rng.randint(1, 5))}
    weights["last"] = 1 + rng.random()
    router = Router(weights, canary="canary", salt=str(seed))
    router.share = rng.random()
    arms = [router.arm_of(user) for user in USERS]
    expected = {arm: (1 - router.share) * weight / sum(weights.values()) for arm, weight in weights.items()}
    for arm, share in {**expected, "canary": router.share}.items():
        assert router.share_of(arm) == pytest.approx(share)
        assert arms.count(arm) / len(USERS) == pytest.approx(share, abs=4.5 * 0.5 / len(USERS) ** 0.5)
    assert set(arms) <= {arm for arm, share in expected.items() if share} | {"canary"}


def test_users_of_a_canary_stay_with_it_while_it_grows_and_nobody_else_changes_arm() -> None:
    router = Router({"a": 60, "b": 40}, canary="c")
    before = {user: router.arm_of(user) for user in USERS}
    for share in (0.01, 0.05, 0.25, 0.5, 1.0):
        router.share = share
        now = {user: router.arm_of(user) for user in USERS}
        assert {(before[user], now[user]) for user in USERS if now[user] != before[user]} <= {("a", "c"), ("b", "c")}
        assert list(now.values()).count("c") / len(USERS) == pytest.approx(share, abs=0.02)
        before = now
    assert set(before.values()) == {"c"}


def test_the_canary_s_users_are_split_as_everybody_else_once_it_is_gone() -> None:
    router = Router({"a": 50, "b": 50}, canary="c")
    router.share = 0.2
    theirs = [user for user in USERS if router.arm_of(user) == "c"]
    router.share = 0.0
    assert [router.arm_of(user) for user in theirs].count("a") / len(theirs) == pytest.approx(0.5, abs=0.04)


def test_another_salt_is_another_split() -> None:
    one, other = Router({"a": 1, "b": 1}, salt="one"), Router({"a": 1, "b": 1}, salt="other")
    same = sum(one.arm_of(user) == other.arm_of(user) for user in USERS)
    assert same / len(USERS) == pytest.approx(0.5, abs=0.02)


def test_salt_and_key_cannot_be_confused() -> None:
    assert Router({"a": 1}, salt="ab").places_of("c") != Router({"a": 1}, salt="a").places_of("bc")


def test_the_split_is_the_same_in_each_process() -> None:
    program = (
        "from mlstack.monitoring.routing import Router\n"
        "router = Router({'a': 3, 'b': 2}, salt='s')\n"
        "print(''.join(router.arm_of(str(number)) for number in range(200)))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    router = Router({"a": 3, "b": 2}, salt="s")
    assert outputs == {"".join(router.arm_of(str(number)) for number in range(200)).encode() + os.linesep.encode()}


def test_places_stay_where_they_are_in_later_versions() -> None:
    assert Router({"a": 1}).places_of("user-1") == pytest.approx(PLACES, abs=1e-15)


@pytest.mark.parametrize("key", ["", "\x00", "猫", "\udcff", "x" * 100_000])
def test_any_text_has_an_arm(key: str) -> None:
    assert Router({"a": 1, "b": 1}).arm_of(key) in ("a", "b")
    assert all(0 <= place < 1 for place in Router({"a": 1}).places_of(key))


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"a": 0},
        {"a": -1},
        {"a": -0.5, "b": 1},
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "90"},
        {"a": None},
        {"a": True},
    ],
)
def test_weights_that_cannot_work_are_refused(weights: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"serve\.split"):
        Router(weights)
