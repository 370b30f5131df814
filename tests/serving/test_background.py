from __future__ import annotations

import threading

import pytest

from mlstack.serving.background import Background


def test_items_are_worked_on_in_their_order_and_closing_waits_for_all() -> None:
    done: list[int] = []
    background = Background(done.extend, name="test", capacity=10_000)
    assert all(background.put(number) for number in range(5000))
    assert background.close(10)
    assert done == list(range(5000))
    assert not background.put(1)
    assert background.close(10)
    assert not background._thread.is_alive()


def test_what_is_worked_on_still_counts_as_waiting() -> None:
    begun, go = threading.Event(), threading.Event()

    def work(_: list[str]) -> None:
        begun.set()
        assert go.wait(10)

    background = Background(work, name="test", capacity=10)
    assert background.put("large", 8)
    assert begun.wait(10)
    assert not background.put("more", 3)
    assert background.put("small", 2)
    assert background.refused == 1
    assert not background.close(0.01)
    go.set()
    assert background.close(10)


def test_a_failure_is_logged_and_the_next_items_follow(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    failed = threading.Event()

    def work(items: list[str]) -> None:
        if "bad" in items:
            failed.set()
            raise ValueError("broken")
        done.extend(items)

    background = Background(work, name="test", capacity=10)
    background.put("bad")
    assert failed.wait(10)
    background.put("good")
    assert background.close(10)
    assert done == ["good"]
    assert "test lost 1 items" in caplog.text
