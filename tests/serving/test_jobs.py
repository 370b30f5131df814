from __future__ import annotations

import asyncio
import gc
import io
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tiny_bundles import make_bundle

from mlstack.bundle.session import SessionAnswers
from mlstack.commands.serve import _parts
from mlstack.config.serving import ServeConfig, ServeSettings
from mlstack.serving import predicting
from mlstack.serving.lane import Lane
from mlstack.serving.messages import Head, Request
from mlstack.serving.pictures import PictureDecoder
from mlstack.serving.scheduler import Scheduler

PATIENCE = 20.0  # seconds after which a test that hangs fails


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    """One worker, so that work has an order."""
    made = Scheduler(1, queue_images=100, queue_bytes=10**6)
    yield made
    made.close()


class Held:
    """Keeps the scheduler's only worker busy until it is let go."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._began, self._go = threading.Event(), threading.Event()
        self.result = scheduler.submit(self._wait)
        assert self._began.wait(PATIENCE)

    def _wait(self) -> bool:
        self._began.set()
        return self._go.wait(PATIENCE)

    def let_go(self) -> None:
        self._go.set()


def order_of(scheduler: Scheduler, *work: str, max_batch: int = 2) -> list[str]:
    """The order in which a worker does what came, one after the other, while it was busy: jobs, `image` or `shadow`."""
    done: list[str] = []

    def model(name: str) -> Lane:
        def run(images: NDArray[np.uint8]) -> SessionAnswers:
            done.append(f"{len(images)} {name}")
            return SessionAnswers(np.zeros((len(images), 1), np.float32), np.zeros((len(images), 1), np.float32))

        return scheduler.lane(run, max_batch=max_batch, background=name == "shadow")

    async def main() -> None:
        lanes = {name: model(name) for name in ("image", "shadow")}
        held = Held(scheduler)
        waiting = []
        for one in work:
            if one in lanes:
                waiting.append(asyncio.ensure_future(lanes[one].submit(np.zeros((1, 2, 2, 1), np.uint8))))
                await asyncio.sleep(0)
            else:
                waiting.append(asyncio.wrap_future(scheduler.submit(done.append, one)))
        held.let_go()
        await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE)

    asyncio.run(main())
    return done


def test_a_job_s_result_and_its_error_come_back(scheduler: Scheduler) -> None:
    assert scheduler.submit(divmod, 7, 2).result(PATIENCE) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        scheduler.submit(divmod, 7, 0).result(PATIENCE)
    assert scheduler.submit(threading.current_thread).result(PATIENCE).name == "model-0"


def test_a_job_that_failed_holds_nothing_once_its_error_is_told(scheduler: Scheduler) -> None:
    class Picture:
        """Something that a weak reference can watch."""

    picture = Picture()
    watched = weakref.ref(picture)
    gc.disable()
    try:
        future = scheduler.submit(divmod, picture, 0)
        del picture
        with pytest.raises(TypeError):
            future.result(PATIENCE)
        del future
        scheduler.submit(int).result(PATIENCE)  # the worker has turned to something else
        assert watched() is None
    finally:
        gc.enable()


def test_jobs_fill_a_batch_but_do_not_keep_a_full_one_waiting(scheduler: Scheduler) -> None:
    assert order_of(scheduler, "a", "image", "b", "image", "c") == ["2 image", "a", "b", "c"]
    assert order_of(scheduler, "a", "image", "b") == ["a", "1 image", "b"]


def test_an_image_waits_for_older_jobs_only(scheduler: Scheduler) -> None:
    assert order_of(scheduler, "image", "a", "b", "c", max_batch=8) == ["1 image", "a", "b", "c"]


def test_shadow_traffic_waits_for_every_job(scheduler: Scheduler) -> None:
    assert order_of(scheduler, "shadow", "a", "shadow", "b") == ["a", "b", "2 shadow"]


def test_a_job_that_nobody_waits_for_any_more_is_not_done(scheduler: Scheduler) -> None:
    done: list[int] = []
    held = Held(scheduler)
    unwanted, wanted = scheduler.submit(done.append, 1), scheduler.submit(done.append, 2)
    assert unwanted.cancel()
    held.let_go()
    wanted.result(PATIENCE)
    assert done == [2]


def test_requests_are_refused_while_as_many_jobs_wait_as_images_may() -> None:
    scheduler = Scheduler(1, queue_images=3, queue_bytes=100)
    held = Held(scheduler)
    jobs = [scheduler.submit(int) for _ in range(2)]
    assert scheduler.has_room(1, 50)
    assert not scheduler.has_room(2, 50)
    jobs.append(scheduler.submit(int))
    assert not scheduler.has_room(1, 50)
    assert scheduler.waiting_images == 3
    held.let_go()
    for job in jobs:
        job.result(PATIENCE)
    assert scheduler.has_room(1, 50)
    scheduler.close()


def test_jobs_that_the_end_overtakes_are_cancelled_and_none_is_taken_after_it(scheduler: Scheduler) -> None:
    held = Held(scheduler)
    waiting = scheduler.submit(print)
    cancelled = threading.Event()
    waiting.add_done_callback(lambda _: cancelled.set())
    closing = threading.Thread(target=scheduler.close)
    closing.start()
    assert cancelled.wait(PATIENCE)
    held.let_go()
    closing.join(PATIENCE)
    late: Future[None] = scheduler.submit(print)
    for one in (waiting, late):
        with pytest.raises(CancelledError):
            one.result(PATIENCE)


@pytest.mark.parametrize(("workers", "thread"), [(1, "decode_0"), (2, "model-0")])
def test_fewer_workers_than_cores_leave_decoding_to_threads_of_its_own(
    workers: int, thread: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predicting, "usable_cores", lambda: 2)
    decoded_by: list[str] = []
    read = PictureDecoder.decode_small

    def watched(decoder: PictureDecoder, data: bytes, name: str = "the picture") -> NDArray[np.uint8] | None:
        decoded_by.append(threading.current_thread().name)
        return read(decoder, data, name)

    monkeypatch.setattr(PictureDecoder, "decode_small", watched)
    bundle = make_bundle(tmp_path / "tiny").path
    Image.new("RGB", (30, 20)).save(file := io.BytesIO(), "PNG")
    options = ServeSettings(device="cpu", access_log=False, workers=workers)
    with _parts(ServeConfig([str(bundle)], serve=options)) as (service, catalogue, _):
        request = Request(Head("POST", "/predict", headers={"content-type": "image/png"}), file.getvalue())
        assert asyncio.run(service.answer(request)).status == 200
        asyncio.run(catalogue.close())
    assert [name.replace("model-1", "model-0") for name in decoded_by] == [thread]
