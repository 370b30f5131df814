from __future__ import annotations

from typing import Any

import pytest

from mlstack.config.serving import RolloutConfig, ServeConfig, ServeSettings
from mlstack.config.serving_limits import LARGEST_BODY_MB, check_serving, is_loopback
from mlstack.errors import ConfigError

from .conftest import Outcome


def check(**settings: Any) -> None:
    check_serving(ServeConfig(serve=ServeSettings(**settings)))


def test_the_defaults_work() -> None:
    check_serving(ServeConfig())


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "127.255.255.254", "::1", "localhost", "LOCALHOST"])
def test_the_own_machine_may_ask_without_a_key(host: str) -> None:
    assert is_loopback(host)
    check(host=host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.5", "example.org", "127.0.0.1.example.org", "fe80::1"]
)
def test_others_may_ask_with_a_key_or_where_that_is_meant(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(ConfigError) as caught:
        check(host=host)
    message = str(caught.value)
    assert caught.value.key == "serve.host"
    assert f"serve.host={host} " in message
    for words in ("make_api_key.py", "serve.api_keys_file=", "serve.allow_anonymous=true"):
        assert words in message
    check(host=host, allow_anonymous=True)
    check(host=host, api_keys_file="keys.txt")


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"canary": "b", "split": {"a": 1, "b": 1}}, "serve.canary", ("serve.split", "drop one")),
        ({"canary": "b", "shadow": "b"}, "serve.shadow", ("serve.canary", "drop one")),
        ({"split": {"a": 1, "b": 1}, "shadow": "b"}, "serve.shadow", ("serve.split", "drop one")),
        ({"shadow": "b", "default": "b"}, "serve.shadow", ("serve.default", "drop one")),
        ({"split": {"a": -1, "b": 2}}, "serve.split", ("share of a is -1", "{a:90,b:10}")),
        ({"split": {"a": "half"}}, "serve.split", ("share of a is 'half'", "{a:90,b:10}")),
        ({"split": {"a": True}}, "serve.split", ("share of a is True",)),
        ({"split": {"a": None}}, "serve.split", ("share of a is None",)),
        ({"split": {"a": float("nan")}}, "serve.split", ("share of a is nan",)),
        ({"split": {"a": float("inf")}}, "serve.split", ("share of a is inf",)),
        ({"split": {"a": 0, "b": 0.0}}, "serve.split", ("all shares are 0",)),
        ({"max_body_mb": LARGEST_BODY_MB + 1}, "serve.max_body_mb", ("2049", "2048", "several requests")),
        ({"max_body_mb": float("inf")}, "serve.max_body_mb", ("inf", "2048")),
        ({"cors_origins": ["*"]}, "serve.cors_origins", ("*", "https://example.org")),
        ({"cors_origins": ["https://example.org/"]}, "serve.cors_origins", ("https://example.org/", "no slash")),
        ({"cors_origins": ["https://a.b", "example.org"]}, "serve.cors_origins", ("example.org",)),
        ({"cors_origins": ["null"]}, "serve.cors_origins", ("null",)),
        ({"cors_origins": ["https://*.example.org"]}, "serve.cors_origins", ("https://*.example.org",)),
        ({"cors_origins": ["https://a.b/app"]}, "serve.cors_origins", ("https://a.b/app", "no path")),
    ],
)
def test_what_cant_work_is_refused_with_its_keys_and_what_to_do(
    settings: dict[str, Any], key: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(**settings)
    assert caught.value.key == key
    assert key in caught.value.message
    assert caught.value.hint
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("steps", [[], [5, 1, 100], [1, 1, 100], [1, 5, 50], [50, 100, 150], [float("nan"), 100]])
def test_a_canarys_steps_grow_up_to_100(steps: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"serve\.rollout\.steps") as caught:
        check(rollout=RolloutConfig(steps=steps))
    assert caught.value.key == "serve.rollout.steps"
    assert "[1,5,25,50,100]" in caught.value.hint


def test_what_can_work_is_let_through() -> None:
    check(rollout=RolloutConfig(steps=[100]))
    check(split={"a": 0, "b": 0.5}, shadow="c", default="a")
    check(canary="b", shadow="c", default="a")
    check(max_body_mb=LARGEST_BODY_MB)
    check(cors_origins=["https://example.org", "http://127.0.0.1:3000", "chrome-extension://abcdef"])


def test_a_service_needs_something_to_serve() -> None:
    with pytest.raises(ConfigError, match=r"bundle=\[\]") as caught:
        check_serving(ServeConfig(bundle=[]))
    assert "bundle=latest" in caught.value.hint


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("serve.host=0.0.0.0", "serve.allow_anonymous=true"),
        ("serve.port=70000", "65535"),
        ("serve.rollout.steps=[0,100]", "serve.rollout.steps"),
        ("serve.workers=0", "serve.workers"),
        ("serve.device=tpu", "cuda"),
        ("serve.split={a:half}", "serve.split"),
        ("serve.portt=1", "serve.port=1"),
        ("serve.deadline_ms=0", "serve.deadline_ms"),
    ],
)
def test_on_the_command_line_it_is_one_message(command: Any, word: str, named: str) -> None:
    outcome: Outcome = command(word, schema=ServeConfig, config_name="serve")
    status, _, err = outcome
    assert status == 2
    assert named in err
    assert "Traceback" not in err
