from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np

from mlstack.serving.mirror import Mirror
from mlstack.serving.problems import Problem

IMAGES = np.zeros((2, 4, 4, 1), np.uint8)
GIVEN = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)


def model(*, classes: tuple[str, ...] = ("a", "b"), picture: str = "grey") -> Any:
    metadata = SimpleNamespace(task="classification", classes=classes)
    return SimpleNamespace(run=object(), lane=SimpleNamespace(max_batch=8), metadata=metadata, picture=picture)


class Shadows:
    """A catalogue and a scheduler: `answer` is what a lane says, `lanes` and `leased` what was asked of them."""

    def __init__(self, **models: Any) -> None:
        self.models = models
        self.answer: Callable[[], np.ndarray] = lambda: GIVEN
        self.lanes: list[SimpleNamespace] = []
        self.leased: list[Any] = []

    @contextmanager
    def lease(self, model: Any) -> Iterator[Any]:
        self.leased.append(model)
        yield model

    def lane(self, run: Any, *, max_batch: int, background: bool) -> Any:
        lane = SimpleNamespace(run=run, max_batch=max_batch, background=background, closed=False)

        async def submit(images: np.ndarray) -> Any:
            assert images is IMAGES
            return SimpleNamespace(output=self.answer())

        lane.submit, lane.close = submit, lambda: setattr(lane, "closed", True)
        self.lanes.append(lane)
        return lane


def shown(mirror: Mirror, given: Any) -> dict[str, Any]:
    """The figures after an answer of a model was shown to the mirror."""

    async def show() -> None:
        mirror.show(SimpleNamespace(model=given, images=IMAGES, answer=SimpleNamespace(output=GIVEN), seconds=0.1))  # type: ignore[arg-type]
        await asyncio.gather(*mirror._tasks)
        assert not mirror._tasks

    asyncio.run(show())
    return {} if mirror.comparison is None else mirror.comparison.status()


def mirror_of(world: Shadows) -> Mirror:
    return Mirror("shadow", world, world)  # type: ignore[arg-type]


def test_a_shadow_s_answers_are_compared_in_the_background() -> None:
    answering, shadow = model(), model()
    world = Shadows(shadow=shadow)
    world.answer = lambda: np.array([[0.7, 0.3], [0.6, 0.4]], np.float32)
    mirror = mirror_of(world)
    assert shown(mirror, answering)["pictures"] == 2
    figures = shown(mirror, answering)
    assert (figures["pictures"], figures["requests"], figures["failed"], figures["dropped"]) == (4, 2, 0, 0)
    assert figures["agreement"]["value"] == 0.5
    [lane] = world.lanes
    assert (lane.run, lane.max_batch, lane.background) == (shadow.run, 8, True)
    assert world.leased == [shadow, shadow]


def test_what_a_shadow_could_not_answer_is_counted_as_failed_or_dropped() -> None:
    world = Shadows(shadow=model())
    mirror, found = mirror_of(world), []
    for status in (500, 429, 503):

        def refuse(status: int = status) -> np.ndarray:
            raise Problem(status, "no")

        world.answer = refuse
        figures = shown(mirror, model())
        found.append((figures["failed"], figures["dropped"], figures["pictures"]))
    assert found == [(1, 0, 0), (1, 1, 0), (1, 2, 0)]


def test_nothing_is_shown_to_a_shadow_that_is_not_there_answers_itself_or_is_of_another_kind() -> None:
    shadow = model()
    for world, given in (
        (Shadows(other=shadow), model()),
        (Shadows(shadow=shadow), shadow),
        (Shadows(shadow=shadow), model(classes=("b", "a"))),
        (Shadows(shadow=shadow), model(picture="colour")),
    ):
        figures = shown(mirror_of(world), given)
        assert figures.get("requests", 0) == 0 and world.leased == []


def test_another_version_of_the_shadow_is_counted_afresh_and_the_lane_of_the_old_one_closed() -> None:
    world = Shadows(shadow=model())
    mirror = mirror_of(world)
    shown(mirror, model())
    world.models["shadow"] = model()
    assert shown(mirror, model())["requests"] == 1
    assert [lane.closed for lane in world.lanes] == [True, False]
