from __future__ import annotations

from typing import Any

import pytest

from mlstack.config.commands import PredictConfig
from mlstack.config.predict_limits import check_who_answers
from mlstack.errors import ConfigError


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"run": "outputs/a", "checkpoint": "last"},
        {"bundle": "latest"},
        {"bundle": "a", "accelerator": "cpu"},
        {"url": "http://127.0.0.1:8000"},
        {"url": "https://example.org", "top_k": 3},
    ],
)
def test_one_of_the_three_may_answer(keys: dict[str, Any]) -> None:
    check_who_answers(PredictConfig(input=["a.jpg"], **keys))


@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        ({"bundle": "b", "run": "outputs/a"}, "bundle", "run=outputs/a and bundle=b contradict each other"),
        ({"bundle": "b", "checkpoint": "last"}, "checkpoint", "checkpoint=last does not fit bundle=b, which holds one"),
        ({"url": "127.0.0.1:8000"}, "url", "url=127.0.0.1:8000 is no address"),
        ({"url": "http://a", "bundle": "b"}, "url", "bundle=b and url=http://a contradict each other"),
        ({"url": "http://a", "run": "outputs/a"}, "url", "run=outputs/a and url=http://a"),
        ({"url": "http://a", "checkpoint": "last"}, "url", "checkpoint=last and url=http://a"),
        ({"url": "http://a", "accelerator": "gpu"}, "url", "accelerator=gpu and url=http://a"),
    ],
)
def test_two_that_would_answer_are_refused(keys: dict[str, Any], key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_who_answers(PredictConfig(input=["a.jpg"], **keys))
    assert caught.value.key == key
    assert caught.value.message.startswith(message)
