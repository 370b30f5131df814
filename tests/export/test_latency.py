from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_bundles import make_model

from mlstack.errors import BundleError
from mlstack.export import latency as module
from mlstack.export.latency import Timed, latencies, latency, time_in_turns


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def perf_counter(self) -> float:
        return self.wall

    def process_time(self) -> float:
        return self.cpu

    def work(self, seconds: float, *, waiting: float = 0.0) -> None:
        self.wall += seconds + waiting
        self.cpu += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "model.onnx")


def pictures(count: int, size: int = 8) -> NDArray[np.uint8]:
    return np.zeros((count, size, size, 1), np.uint8)


def test_a_model_file_is_timed_for_as_long_as_it_is_told_to(model: Path) -> None:
    found = latency(model, pictures(1), seconds=0.02)
    assert 0 < found.p50 <= found.p95 <= found.p99
    assert found.cpu > 0
    assert found.calls > 1
    assert found.images_per_second > 0


def test_times_are_milliseconds_and_images_a_second_count_all_pictures_of_a_batch(clock: Clock) -> None:
    found = time_in_turns([lambda: clock.work(0.01)], images=[8], seconds=1.0)[0]
    assert (found.p50, found.p95, found.p99) == pytest.approx((10, 10, 10))
    assert found.images_per_second == pytest.approx(800)
    assert 100 <= found.calls <= 110


def test_percentiles_are_those_of_the_calls(clock: Clock) -> None:
    count = iter(range(10_000))
    call = lambda: clock.work(0.05 if next(count) % 12 == 0 else 0.001)  # noqa: E731
    found = time_in_turns([call], images=[1], seconds=2.0)[0]
    assert found.p50 == pytest.approx(1)
    assert found.p95 == pytest.approx(50)


def test_waiting_costs_wall_time_and_no_processor_time(clock: Clock) -> None:
    found = time_in_turns([lambda: clock.work(0.002, waiting=0.02)], images=[1], seconds=0.5)[0]
    assert found.p50 == pytest.approx(22)
    assert found.cpu == pytest.approx(2)


def test_several_are_called_in_turns_and_each_is_warmed_up_first(clock: Clock) -> None:
    order: list[str] = []

    def call(name: str, seconds: float) -> None:
        order.append(name)
        clock.work(seconds)

    time_in_turns([lambda: call("a", 0.02), lambda: call("b", 0.05)], images=[1, 1], seconds=1.0)
    warm = module.WARM_UP_CALLS
    assert order[: 2 * warm] == ["a"] * warm + ["b"] * warm
    measured = order[2 * warm :]
    changes = sum(one != other for one, other in pairwise(measured))
    assert changes >= 8
    assert measured.count("a") > 1.5 * measured.count("b")  # each for as long as the other


def test_the_first_call_of_a_turn_is_not_counted(clock: Clock) -> None:
    def call(name: str, last: list[str]) -> None:
        clock.work(0.02 if last[-1] == name else 0.05)  # the other one has emptied the caches
        last.append(name)

    last = [""]
    found = time_in_turns([lambda: call("a", last), lambda: call("b", last)], images=[1, 1], seconds=1.0)
    assert [one.p99 for one in found] == pytest.approx([20, 20])


def test_a_call_that_takes_longer_than_a_turn_is_counted_all_the_same(clock: Clock) -> None:
    found = time_in_turns([lambda: clock.work(1.5)], images=[1], seconds=1.0)[0]
    assert (found.calls, found.p50) == (1, pytest.approx(1500))


def test_one_file_at_several_batch_sizes_is_loaded_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[Path] = []

    class Counted(module.Session):
        def __init__(self, path: Path, **options: Any) -> None:
            loaded.append(path)
            super().__init__(path, **options)

    monkeypatch.setattr(module, "Session", Counted)
    found = latencies(
        [Timed(model, pictures(1)), Timed(model, pictures(8)), Timed(model, pictures(8), 2)], seconds=0.01
    )
    assert len(loaded) == 2
    assert len(found) == 3


def test_pictures_that_do_not_fit_are_refused(model: Path) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx can't be run on uint8 \[1, 9, 9, 1\]"):
        latency(model, pictures(1, size=9))
