from __future__ import annotations

import asyncio
import io
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import orjson
import pytest
from PIL import Image

from mlstack.serving.handlers import Handlers, _is_percent, _png
from mlstack.serving.messages import Head, Request
from mlstack.serving.problems import Problem


class Experiment:
    """Notes what it is asked."""

    canary: str | None = "new"

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def _decide(self, *asked: Any) -> Any:
        self.asked.append(asked)
        return SimpleNamespace(as_dict=lambda: {"asked": list(asked)})

    def promote(self) -> Any:
        return self._decide("promote")

    def rollback(self, reason: str) -> Any:
        return self._decide("rollback", reason)

    def set_share(self, percent: float) -> Any:
        return self._decide("share", percent)


def ask(experiment: Experiment | None, body: object, decided: list[Any] | None = None) -> Any:
    """What POST /admin/canary answers."""
    handlers = Handlers.__new__(Handlers)
    handlers.experiment = experiment  # type: ignore[assignment]
    noted = [] if decided is None else decided
    handlers.watching = SimpleNamespace(decided=noted.extend)  # type: ignore[assignment]
    request = Request(Head("POST", "/admin/canary"), orjson.dumps(body))
    return json.loads(asyncio.run(handlers.canary(request, {})).body)


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"action": "promote"}, ["promote"]),
        ({"action": "rollback"}, ["rollback", "by hand"]),
        ({"action": "share", "percent": 0}, ["share", 0.0]),
        ({"action": "share", "percent": 12.5}, ["share", 12.5]),
        ({"action": "share", "percent": 100}, ["share", 100.0]),
    ],
)
def test_a_canary_is_promoted_rolled_back_or_given_a_share(body: dict[str, Any], asked: list[Any]) -> None:
    experiment, decided = Experiment(), []
    assert ask(experiment, body, decided) == {"asked": asked}
    assert experiment.asked == [tuple(asked)]
    assert [one.as_dict() for one in decided] == [{"asked": asked}]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "stop"},
        {"action": "share"},
        {"action": "share", "percent": -0.1},
        {"action": "share", "percent": 100.1},
        {"action": "share", "percent": True},
        {"action": "share", "percent": "50"},
    ],
)
def test_what_else_is_asked_of_a_canary_is_refused_and_changes_nothing(body: dict[str, Any]) -> None:
    experiment = Experiment()
    with pytest.raises(Problem) as problem:
        ask(experiment, body)
    assert problem.value.status == 400 and "0 to 100" in problem.value.detail
    assert experiment.asked == []


def test_without_a_canary_there_is_nothing_to_decide() -> None:
    without = Experiment()
    without.canary = None
    for experiment in (None, without):
        with pytest.raises(Problem, match=r"serve\.canary=MODEL") as problem:
            ask(experiment, {"action": "promote"})
        assert problem.value.status == 404


def test_a_percentage_is_a_number_from_0_to_100() -> None:
    assert [_is_percent(value) for value in (0, 0.5, 100, -1, 100.5, float("nan"), False, None, "1")] == [
        *[True] * 3,
        *[False] * 6,
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_sent_as_a_png_of_its_pixels(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    with Image.open(io.BytesIO(_png(pixels))) as image:
        assert image.mode == ("L" if channels == 1 else "RGB")
        assert np.array_equal(np.asarray(image).reshape(pixels.shape), pixels)
