"""Batching without waiting: threads that all models share, and that are idle only while there is nothing to do.

A free worker takes at once what is queued, so a batch forms only while all workers are busy: alone a request never
waits for company, and under load batches grow by themselves. This is the dynamic batching of Clipper
(https://www.usenix.org/conference/nsdi17/technical-sessions/presentation/crankshaw) with a delay of 0; `max_wait_s`
above 0 gives the delay back.

Between batches workers do the `Job`s that come with requests, the oldest first: a job goes before a batch that is not
full yet and not older. So batches fill while there is something to decode, and nothing starves.

A worker that ends a batch hands the answers to the event loop in one call, and takes the next batch by itself: the
loop, which parses requests meanwhile, is never on the model's path.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from mlstack.serving.jobs import Job, Result
from mlstack.serving.lane import ENDING, LATE, Batch, BatchAnswer, Lane, OnBatch, Part, Run, Ticket, call_soon
from mlstack.serving.problems import Problem, expired, not_ready, overloaded

__all__ = ["BatchAnswer", "Lane", "Room", "Scheduler"]

NEWEST = 0.1  # share of the newest batch in the measured time of an image
BACKGROUND = 4  # background lanes may hold a quarter of what the others may
LONGEST_RETRY = 60.0  # seconds


@dataclass(slots=True)
class Room:
    """How much may wait, and how much does."""

    max_images: int
    max_bytes: int
    images: int = 0
    bytes: int = 0

    def fits(self, images: int, size: int) -> bool:
        """Whether so many images, of so many bytes together, may wait too. Where nothing waits, any request may."""
        if not self.images:
            return True
        return self.images + images <= self.max_images and self.bytes + size <= self.max_bytes

    def add(self, images: int, size: int) -> None:
        self.images += images
        self.bytes += size


class Scheduler:
    """Worker threads and the lanes that they serve, the one whose oldest request waits longest first.

    Args:
        workers: Batches that run at once.
        queue_images: Images that may wait, over all lanes; lanes in the background have a quarter of it for themselves.
        queue_bytes: Bytes that may wait, likewise.
        max_wait_s: Time that a free worker waits for a batch to fill, in seconds, counted from its oldest request.
    """

    def __init__(self, workers: int, *, queue_images: int, queue_bytes: int, max_wait_s: float = 0.0) -> None:
        self._room = Room(queue_images, queue_bytes)
        self._background = Room(max(1, queue_images // BACKGROUND), queue_bytes // BACKGROUND)
        self._max_wait_s = max_wait_s
        self._lanes: list[Lane] = []
        self._jobs: deque[Job] = deque()
        self._ready = threading.Condition(threading.Lock())
        self._closed = False
        self._running = 0
        self._running_background = 0
        self._image_s = 0.0
        self._threads = [
            threading.Thread(target=self._work, name=f"model-{number}", daemon=True) for number in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def workers(self) -> int:
        return len(self._threads)

    @property
    def waiting_images(self) -> int:
        """Those whose job waits too."""
        return self._room.images + len(self._jobs)

    @property
    def waiting_bytes(self) -> int:
        return self._room.bytes

    @property
    def running_images(self) -> int:
        return self._running

    def lane(self, run: Run, *, max_batch: int, background: bool = False, on_batch: OnBatch | None = None) -> Lane:
        """A queue for one model.

        Args:
            run: The model, called in a worker's thread with uint8 [n, height, width, channel], 1 ≤ n ≤ `max_batch`.
            max_batch: Most images of a call.
            background: Served only while no other lane has work, by all workers but one. Where its queue is full, a
                request is dropped: `submit` raises 429 with the reason `dropped`.
            on_batch: Told of each batch on the event loop: its images, and its time in seconds.
        """
        room = self._background if background else self._room
        lane = Lane(self, run, max_batch=max_batch, background=background, on_batch=on_batch, room=room)
        with self._ready:
            lane.closed = self._closed
            self._lanes.append(lane)
        return lane

    def has_room(self, images: int, size: int) -> bool:
        """Whether a request of so many images and bytes would be taken now. Jobs count: they become images."""
        jobs = len(self._jobs)
        return self._room.fits(images + jobs, size) and (jobs == 0 or images + jobs <= self._room.max_images)

    def retry_after(self) -> float:
        """Seconds until the images that wait now will have been answered, at the rate of the newest batches."""
        return min(LONGEST_RETRY, (self.waiting_images + self._running) * self._image_s / self.workers)

    def full(self) -> Problem:
        """The 429 of a queue without room."""
        detail = f"{self.waiting_images} images are waiting already; try again later, or send fewer at once"
        return overloaded(detail, retry_after=self.retry_after())

    def close(self) -> None:
        """Refuse what waits, let the running batches end, and end the threads. May be called twice."""
        with self._ready:
            self._closed = True
            lanes = list(self._lanes)
            jobs = list(self._jobs)
            self._jobs.clear()
            self._ready.notify_all()
        for lane in lanes:
            lane.close()
        for job in jobs:
            job.future.cancel()
        for thread in self._threads:
            thread.join()

    def submit(self, call: Callable[..., Result], /, *arguments: Any) -> Future[Result]:
        """Let a worker make a short call. Its future is cancelled where the scheduler ends before it began."""
        job = Job(call, arguments)
        with self._ready:
            if self._closed:
                job.future.cancel()
            else:
                self._jobs.append(job)
                self._ready.notify()
        return job.future

    def put(self, lane: Lane, parts: list[Part], images: int, size: int) -> None:
        """Queue a request's parts, all or none.

        Raises:
            Problem: There is no room, or the lane is closed.
        """
        with self._ready:
            if lane.closed:
                raise not_ready(ENDING)
            if not lane.room.fits(images, size):
                raise (
                    Problem(429, "no room for more shadow traffic", reason="dropped")
                    if lane.background
                    else self.full()
                )
            lane.room.add(images, size)
            lane.waiting.extend(parts)
            lane.waiting_images += images
            self._ready.notify(len(parts))

    def withdraw(self, lane: Lane, ticket: Ticket) -> int:
        """Take a request's parts out of the queue; how many were still there."""
        with self._ready:
            parts = [part for part in lane.waiting if part.ticket is ticket]
            for part in parts:
                lane.waiting.remove(part)
                _leave(lane, part)
        return len(parts)

    def remove(self, lane: Lane) -> list[Part]:
        """Close a lane; the parts that were waiting in it."""
        with self._ready:
            lane.closed = True
            if lane in self._lanes:
                self._lanes.remove(lane)
            parts = list(lane.waiting)
            lane.waiting.clear()
            for part in parts:
                _leave(lane, part)
        return parts

    def _work(self) -> None:
        """What each thread does."""
        while (work := self._next()) is not None:
            if isinstance(work, Job):
                work.run()
            else:
                work.compute()
                self._end(work)
            del work  # a thread that waits shall hold no pictures

    def _next(self) -> Batch | Job | None:
        """Wait for the next batch or job and take it; None = the end."""
        with self._ready:
            while not self._closed:
                lane, pause = self._choose()
                if self._jobs and (lane is None or self._goes_before(self._jobs[0], lane)):
                    return self._jobs.popleft()
                if lane is None:
                    self._ready.wait(pause)
                elif (batch := self._take(lane)).parts:
                    return batch
        return None

    @staticmethod
    def _goes_before(job: Job, lane: Lane) -> bool:
        if lane.background:
            return True
        return lane.waiting_images < lane.max_batch and job.submitted <= _oldest(lane)

    def _choose(self) -> tuple[Lane | None, float | None]:
        """The lane to serve now, or else the seconds until one may be ripe; None = until something comes."""
        lanes = [lane for lane in self._lanes if lane.waiting and not lane.background]
        if not lanes and self._running_background < max(1, len(self._threads) - 1):
            lanes = [lane for lane in self._lanes if lane.waiting]
        if not lanes:
            return None, None
        lanes.sort(key=_oldest)
        if not self._max_wait_s:
            return lanes[0], None
        now = time.monotonic()
        for lane in lanes:
            if lane.waiting_images >= lane.max_batch or _oldest(lane) + self._max_wait_s <= now:
                return lane, None
        return None, _oldest(lanes[0]) + self._max_wait_s - now

    def _take(self, lane: Lane) -> Batch:
        """Whole parts from the front of a lane, as many as a batch takes; those that are too late are left out."""
        now = time.monotonic()
        batch = Batch(lane, [], 0, now)
        late: list[Part] = []
        while lane.waiting and batch.images + len(lane.waiting[0].images) <= lane.max_batch:
            part = lane.waiting.popleft()
            _leave(lane, part)
            if part.ticket.deadline is not None and part.ticket.deadline <= now:
                late.append(part)
            else:
                batch.parts.append(part)
                batch.images += len(part.images)
        lane.refuse_soon(late, expired, LATE)
        self._running += batch.images
        self._running_background += lane.background and bool(batch.parts)
        return batch

    def _end(self, batch: Batch) -> None:
        """Count a batch off and hand its answers to the event loop."""
        with self._ready:
            self._running -= batch.images
            if batch.lane.background:
                self._running_background -= 1
                self._ready.notify()
            else:
                seconds = (batch.ended - batch.started) / batch.images
                self._image_s += (NEWEST if self._image_s else 1.0) * (seconds - self._image_s)
        call_soon(batch.parts[0].ticket, batch.lane.finish, batch)


def _oldest(lane: Lane) -> float:
    return lane.waiting[0].ticket.submitted


def _leave(lane: Lane, part: Part) -> None:
    """Give back the room of a part that is no longer in its queue."""
    lane.room.add(-len(part.images), -part.images.nbytes)
    lane.waiting_images -= len(part.images)
