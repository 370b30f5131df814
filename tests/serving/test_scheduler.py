from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_bundles import make_model

from mlstack.bundle.session import Session, SessionAnswers
from mlstack.errors import BundleError
from mlstack.serving.problems import Problem
from mlstack.serving.scheduler import Lane, Scheduler

BAD = 255
PATIENCE = 20.0  # seconds after which a test that hangs fails


def answers_of(images: NDArray[np.uint8]) -> SessionAnswers:
    """A model whose answer is the first pixel, and whose feature is twice that."""
    first = images[:, 0, 0, :].astype(np.float32)
    if (first == BAD).any():
        raise BundleError("a picture that this model can't stand")
    return SessionAnswers(first, first * 2)


def pictures(*values: int) -> NDArray[np.uint8]:
    """One picture of 2 × 2 grey pixels for each value."""
    return np.repeat(np.array(values, np.uint8), 4).reshape(-1, 2, 2, 1)


class Gate:
    """A model that stands still until it is let go, and that tells what it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.go = threading.Semaphore(0)

    def __call__(self, images: NDArray[np.uint8]) -> SessionAnswers:
        self.batches.append(images[:, 0, 0, 0].tolist())
        self.entered.release()
        assert self.go.acquire(timeout=PATIENCE)
        return answers_of(images)

    async def is_busy(self) -> None:
        """Wait until a worker has come in."""
        assert await asyncio.to_thread(self.entered.acquire, timeout=PATIENCE)

    def open(self, times: int = 1000) -> None:
        self.go.release(times)


@contextmanager
def scheduling(workers: int = 1, **options: Any) -> Iterator[Scheduler]:
    limits = {"queue_images": 100, "queue_bytes": 10**6, **options}
    scheduler = Scheduler(workers, **limits)
    try:
        yield scheduler
    finally:
        scheduler.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("model-")]


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def submitted(lane: Lane, images: NDArray[np.uint8], **options: Any) -> asyncio.Task[Any]:
    return asyncio.get_running_loop().create_task(lane.submit(images, **options))


async def turns(count: int = 3) -> None:
    """Let the tasks that are ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def status_of(task: asyncio.Task[Any]) -> int:
    with pytest.raises(Problem) as caught:
        await task
    return caught.value.status


def test_a_free_worker_takes_a_single_image_at_once() -> None:
    async def main() -> None:
        answer = await scheduler.lane(answers_of, max_batch=8).submit(pictures(7))
        assert answer.output.tolist() == [[7.0]]
        assert answer.features.tolist() == [[14.0]]
        assert answer.batch_images == 1
        assert answer.queue_s >= 0 and answer.model_s >= 0
        assert (scheduler.waiting_images, scheduler.waiting_bytes) == (0, 0)

    with scheduling() as scheduler:
        run(main)


def test_batches_form_while_all_workers_are_busy_and_keep_the_order_of_arrival() -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=4)
        tasks = [submitted(lane, pictures(0))]
        await gate.is_busy()
        tasks += [submitted(lane, pictures(value)) for value in range(1, 7)]
        await turns()
        assert (scheduler.waiting_images, scheduler.waiting_bytes, scheduler.running_images) == (6, 24, 1)
        gate.open()
        answers = await asyncio.gather(*tasks)
        assert [answer.output.item() for answer in answers] == list(range(7))
        assert gate.batches == [[0], [1, 2, 3, 4], [5, 6]]
        assert [answer.batch_images for answer in answers] == [1, 4, 4, 4, 4, 2, 2]

    gate = Gate()
    with scheduling() as scheduler:
        run(main)


def test_rows_are_counted_and_a_request_is_not_torn_apart_where_it_fits_into_a_batch() -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=4)
        tasks = [submitted(lane, pictures(0))]
        await gate.is_busy()
        tasks += [submitted(lane, pictures(*values)) for values in ([1, 2, 3], [4, 5], [6])]
        await turns()
        gate.open()
        answers = await asyncio.gather(*tasks)
        assert gate.batches == [[0], [1, 2, 3], [4, 5, 6]]
        assert [answer.output.ravel().tolist() for answer in answers] == [[0], [1, 2, 3], [4, 5], [6]]

    gate = Gate()
    with scheduling() as scheduler:
        run(main)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_request_larger_than_a_batch_is_split_and_rejoined_in_order(workers: int) -> None:
    async def main() -> None:
        values = list(range(11))
        answer = await scheduler.lane(counting, max_batch=4).submit(pictures(*values))
        assert answer.output.ravel().tolist() == values
        assert answer.features.ravel().tolist() == [2 * value for value in values]
        assert sorted(sizes) == [3, 4, 4]

    def counting(images: NDArray[np.uint8]) -> SessionAnswers:
        sizes.append(len(images))
        return answers_of(images)

    sizes: list[int] = []
    with scheduling(workers) as scheduler:
        run(main)


def test_a_real_model_answers_a_thousand_requests_as_if_each_were_alone(tmp_path: Path) -> None:
    session = Session(make_model(tmp_path / "model.onnx"))
    images = np.random.default_rng(0).integers(0, 256, (1000, 8, 8, 1), dtype=np.uint8)
    sizes: list[int] = []

    async def main() -> None:
        lane = scheduler.lane(session.run, max_batch=16, on_batch=lambda count, _: sizes.append(count))
        answers = await asyncio.gather(*(lane.submit(image[None]) for image in images))
        alone = session.run(images)
        np.testing.assert_allclose(np.concatenate([one.output for one in answers]), alone.output, rtol=1e-5)
        np.testing.assert_allclose(np.concatenate([one.features for one in answers]), alone.features, rtol=1e-5)
        await lane.drain()
        assert sum(sizes) == 1000 and max(sizes) == 16

    with scheduling(2, queue_images=1000) as scheduler:
        run(main)


def test_a_bad_image_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=8)
        first = submitted(lane, pictures(0))
        await gate.is_busy()
        good, bad, other = (submitted(lane, pictures(value)) for value in (1, BAD, 2))
        await turns()
        gate.open()
        await first
        assert (await good).output.item() == 1
        assert (await other).output.item() == 2
        with pytest.raises(Problem, match="the model failed on these images") as caught:
            await bad
        assert (caught.value.status, caught.value.reason) == (500, "model")
        assert gate.batches == [[0], [1, BAD, 2], [1], [BAD], [2]]
        await lane.drain()

    gate = Gate()
    with scheduling() as scheduler:
        run(main)
    assert "a picture that this model can't stand" in caplog.text


def test_pictures_of_another_shape_spoil_nobody_elses_answer() -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=8)
        first = submitted(lane, pictures(0))
        await gate.is_busy()
        tasks = [submitted(lane, pictures(1)), submitted(lane, np.full((1, 3, 3, 1), 2, np.uint8))]
        await turns()
        gate.open()
        assert [(await task).output.item() for task in (first, *tasks)] == [0, 1, 2]

    gate = Gate()
    with scheduling() as scheduler:
        run(main)


def test_a_model_with_too_few_answers_is_a_failure_of_ours() -> None:
    async def main() -> None:
        lane = scheduler.lane(lambda images: answers_of(images[:1]), max_batch=8)
        assert await status_of(submitted(lane, pictures(1, 2))) == 500
        assert (await lane.submit(pictures(3))).output.item() == 3

    with scheduling() as scheduler:
        run(main)


def test_one_failed_part_fails_its_request_and_drops_the_parts_that_wait() -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=2)
        task = submitted(lane, pictures(BAD, 1, 2, 3, 4, 5))
        await gate.is_busy()
        gate.open(1)
        assert gate.entered.acquire(timeout=PATIENCE)  # holds the loop up: the worker goes on before it can hear
        assert await status_of(task) == 500
        assert scheduler.waiting_images == 0
        gate.open()
        await lane.drain()
        assert gate.batches == [[BAD, 1], [2, 3]]

    gate = Gate()
    with scheduling() as scheduler:
        run(main)


def test_a_full_queue_refuses_with_the_time_to_wait() -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=2)
        tasks = [submitted(lane, pictures(0))]
        await gate.is_busy()
        tasks += [submitted(lane, pictures(1, 2, 3))]
        await turns()
        assert scheduler.has_room(1, 4) and not scheduler.has_room(2, 8)
        with pytest.raises(Problem) as caught:
            await lane.submit(pictures(4, 5))
        assert (caught.value.status, caught.value.reason) == (429, "overloaded")
        assert dict(caught.value.headers)["retry-after"] == "1"
        tasks += [submitted(lane, pictures(6))]
        await turns()
        assert scheduler.full().status == 429
        gate.open()
        assert len(await asyncio.gather(*tasks)) == 3
        assert 0 <= scheduler.retry_after() < 1

    gate = Gate()
    with scheduling(queue_images=4) as scheduler:
        run(main)


def test_bytes_that_wait_are_bounded_too_and_an_empty_queue_takes_any_request() -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=100)
        tasks = [submitted(lane, pictures(0))]
        await gate.is_busy()
        tasks += [submitted(lane, pictures(1, 2, 3, 4, 5, 6))]  # 24 bytes, above the limit: it would never fit
        await turns()
        assert await status_of(submitted(lane, pictures(7))) == 429
        gate.open()
        await asyncio.gather(*tasks)

    gate = Gate()
    with scheduling(queue_bytes=10) as scheduler:
        run(main)


def test_the_time_to_wait_follows_the_measured_rate() -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=1)
        assert scheduler.retry_after() == 0
        first = submitted(lane, pictures(0))
        await gate.is_busy()
        started = time.monotonic()
        while time.monotonic() - started < 0.02:
            await asyncio.sleep(0.005)
        gate.open(1)
        await first
        tasks = [submitted(lane, pictures(value)) for value in range(10)]
        await gate.is_busy()
        assert 10 * 0.02 <= scheduler.retry_after() <= 60
        gate.open()
        await asyncio.gather(*tasks)

    gate = Gate()
    with scheduling() as scheduler:
        run(main)


def test_expired_requests_never_come_to_the_model() -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=4)
        first = submitted(lane, pictures(0), deadline=time.monotonic() + 0.01)
        await gate.is_busy()
        late = submitted(lane, pictures(1, 2, 3, 4, 5), deadline=time.monotonic() + 0.01)
        patient = submitted(lane, pictures(6), deadline=time.monotonic() + PATIENCE)
        with pytest.raises(Problem, match="while the request waited") as caught:
            await late
        assert (caught.value.status, caught.value.reason) == (503, "deadline")
        assert scheduler.waiting_images == 1
        gate.open()
        assert (await first).output.item() == 0  # with the model already when its deadline came
        assert (await patient).output.item() == 6
        assert gate.batches == [[0], [6]]
        assert await status_of(submitted(lane, pictures(7), deadline=time.monotonic() - 1)) == 503

    gate = Gate()
    with scheduling() as scheduler:
        run(main)


def test_a_worker_drops_what_expired_while_the_event_loop_was_held_up() -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=4)
        first = submitted(lane, pictures(0))
        await gate.is_busy()
        deadline = time.monotonic() + 0.01
        late, patient = submitted(lane, pictures(1), deadline=deadline), submitted(lane, pictures(2))
        await turns()
        while time.monotonic() < deadline:
            pass
        gate.open()
        assert gate.entered.acquire(timeout=PATIENCE)
        assert await status_of(late) == 503
        assert [(await task).output.item() for task in (first, patient)] == [0, 2]
        assert gate.batches == [[0], [2]]
        await lane.drain()

    gate = Gate()
    with scheduling() as scheduler:
        run(main)


def test_a_client_that_goes_away_frees_its_room_at_once() -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=2)
        first = submitted(lane, pictures(0))
        await gate.is_busy()
        gone = submitted(lane, pictures(1, 2, 3, 4, 5))
        await turns()
        assert scheduler.waiting_images == 5
        gone.cancel()
        first.cancel()
        await asyncio.gather(gone, first, return_exceptions=True)
        assert gone.cancelled() and first.cancelled()
        assert (scheduler.waiting_images, scheduler.waiting_bytes) == (0, 0)
        other = submitted(lane, pictures(6))
        await turns()
        gate.open()
        assert (await other).output.item() == 6
        assert gate.batches == [[0], [6]]

    gate = Gate()
    with scheduling() as scheduler:
        run(main)


def test_the_lane_whose_request_waits_longest_is_served_first() -> None:
    async def main() -> None:
        one, other = scheduler.lane(gate, max_batch=2), scheduler.lane(gate, max_batch=2)
        tasks = [submitted(one, pictures(0))]
        await gate.is_busy()
        for lane, value in ((other, 10), (one, 1), (one, 2), (one, 3), (other, 11)):
            tasks.append(submitted(lane, pictures(value)))
            await turns()
        gate.open()
        await asyncio.gather(*tasks)
        assert gate.batches == [[0], [10, 11], [1, 2], [3]]

    gate = Gate()
    with scheduling() as scheduler:
        run(main)


def test_background_lanes_wait_for_all_others_and_drop_what_is_too_much() -> None:
    async def main() -> None:
        shadow = scheduler.lane(gate, max_batch=2, background=True)
        lane = scheduler.lane(gate, max_batch=2)
        tasks = [submitted(lane, pictures(0))]
        await gate.is_busy()
        tasks += [submitted(shadow, pictures(100)), submitted(shadow, pictures(101))]
        await turns()
        with pytest.raises(Problem) as caught:
            await shadow.submit(pictures(102))
        assert caught.value.reason == "dropped"
        assert scheduler.waiting_images == 0  # of the others
        tasks += [submitted(lane, pictures(1)), submitted(lane, pictures(2, 3))]
        await turns()
        gate.open()
        await asyncio.gather(*tasks)
        assert gate.batches == [[0], [1], [2, 3], [100, 101]]

    gate = Gate()
    with scheduling(queue_images=8) as scheduler:
        run(main)


def test_background_work_leaves_one_worker_free() -> None:
    async def main() -> None:
        shadow, lane = scheduler.lane(gate, max_batch=1, background=True), scheduler.lane(answers_of, max_batch=1)
        tasks = [submitted(shadow, pictures(value)) for value in (1, 2)]
        await gate.is_busy()
        assert (await lane.submit(pictures(3))).output.item() == 3
        assert gate.batches == [[1]]
        gate.open()
        await asyncio.gather(*tasks)

    gate = Gate()
    with scheduling(2) as scheduler:
        run(main)


def test_a_free_worker_waits_for_company_where_that_is_asked_for() -> None:
    async def main() -> None:
        lane = scheduler.lane(answers_of, max_batch=3)
        together = await asyncio.gather(*(lane.submit(pictures(value)) for value in range(3)))
        assert [answer.batch_images for answer in together] == [3, 3, 3]

    with scheduling(2, max_wait_s=PATIENCE) as scheduler:
        run(main)


def test_a_batch_that_does_not_fill_goes_when_the_wait_is_over() -> None:
    async def main() -> None:
        answer = await scheduler.lane(answers_of, max_batch=3).submit(pictures(1))
        assert answer.queue_s >= 0.01

    with scheduling(max_wait_s=0.01) as scheduler:
        run(main)


def test_a_lane_drains_when_all_of_its_requests_are_answered() -> None:
    async def main() -> None:
        lane, other = scheduler.lane(gate, max_batch=1), scheduler.lane(answers_of, max_batch=1)
        await other.drain()
        tasks = [submitted(lane, pictures(value)) for value in (1, 2)]
        await gate.is_busy()
        drained = asyncio.get_running_loop().create_task(lane.drain())
        gate.open(1)
        await tasks[0]
        assert not drained.done()
        gate.open()
        await drained
        assert tasks[1].done()

    gate = Gate()
    with scheduling() as scheduler:
        run(main)


def test_a_closed_lane_answers_what_runs_and_refuses_the_rest() -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=1)
        running = submitted(lane, pictures(1))
        await gate.is_busy()
        waiting = submitted(lane, pictures(2))
        await turns()
        lane.close()
        assert await status_of(waiting) == 503
        assert await status_of(submitted(lane, pictures(3))) == 503
        gate.open()
        assert (await running).output.item() == 1
        await lane.drain()
        assert (await scheduler.lane(answers_of, max_batch=1).submit(pictures(4))).output.item() == 4

    gate = Gate()
    with scheduling() as scheduler:
        run(main)


def test_a_closed_scheduler_refuses_everything_and_may_be_closed_twice() -> None:
    async def main() -> None:
        lane = scheduler.lane(gate, max_batch=1)
        running = submitted(lane, pictures(1))
        await gate.is_busy()
        waiting = submitted(lane, pictures(2))
        await turns()
        closed = asyncio.get_running_loop().create_task(asyncio.to_thread(scheduler.close))
        assert await status_of(waiting) == 503
        gate.open()
        assert (await running).output.item() == 1
        await closed
        assert await status_of(submitted(lane, pictures(3))) == 503
        assert await status_of(submitted(scheduler.lane(answers_of, max_batch=1), pictures(3))) == 503

    gate = Gate()
    with scheduling() as scheduler:
        run(main)


def test_a_loop_that_ended_before_its_answers_came_stops_no_worker() -> None:
    async def leave() -> None:
        submitted(scheduler.lane(gate, max_batch=1), pictures(1))
        await gate.is_busy()

    async def main() -> None:
        assert (await scheduler.lane(answers_of, max_batch=1).submit(pictures(2))).output.item() == 2

    gate = Gate()
    with scheduling() as scheduler:
        run(leave)
        gate.open()
        run(main)


def test_nothing_of_a_request_is_kept_when_it_has_ended() -> None:
    """Also without the garbage collector: under load it comes late."""

    async def end(lane: Lane, value: int) -> weakref.ref[Any]:
        images = pictures(value)
        known = weakref.ref(images)
        try:
            await lane.submit(images, deadline=time.monotonic() + PATIENCE)
        except Problem as problem:
            problem.__traceback__ = None
        return known

    async def main() -> None:
        lane = scheduler.lane(answers_of, max_batch=1)
        known = [await end(lane, value) for value in (1, BAD, 2)]
        await lane.drain()
        scheduler.close()  # the thread may hold the last batch until it waits again
        assert not [place for place, ref in enumerate(known) if ref() is not None]

    gc.disable()
    try:
        with scheduling() as scheduler:
            run(main)
    finally:
        gc.enable()


def test_who_is_refused_is_asked_back_when_all_workers_together_are_through() -> None:
    with scheduling(workers=3) as scheduler:
        scheduler._image_s, scheduler._running = 0.5, 9
        assert scheduler.retry_after() == pytest.approx(1.5)
        scheduler._running = 359
        assert scheduler.retry_after() == pytest.approx(59.8333333)
        scheduler._running = 361
        assert scheduler.retry_after() == 60
        scheduler._running = 0
