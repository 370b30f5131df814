"""One model's queue: requests become parts of at most a batch, parts become answers, in the order of the request.

A part waits in its lane until a worker of the `Scheduler` takes it, together with others, as a `Batch`. What happens
here runs on the event loop, but for `Batch.compute`, which runs in a worker's thread.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.session import SessionAnswers
from mlstack.errors import BundleError
from mlstack.serving.problems import Problem, expired, not_ready

if TYPE_CHECKING:
    from mlstack.serving.scheduler import Room, Scheduler

ENDING = "the model was taken away, or the service is ending"
LATE = "the deadline passed while the request waited for the model"
LOG = logging.getLogger("mlstack.serving.scheduler")

Run = Callable[[NDArray[np.uint8]], SessionAnswers]
OnBatch = Callable[[int, float], None]
Outcome = SessionAnswers | str  # or why there are none: an exception would hold the pictures through its traceback


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What a model answers to one request.

    Attributes:
        output: float32 [n, answer], in the order of the request's pictures.
        features: float32 [n, feature].
        queue_s: From `submit` to the start of the first batch that holds some of them, in seconds.
        model_s: From there to the end of the last such batch, in seconds.
        batch_images: Images of that last batch, those of other requests included.
    """

    output: NDArray[np.float32]
    features: NDArray[np.float32]
    queue_s: float
    model_s: float
    batch_images: int


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that waits for its answer; times are of `time.monotonic()`, in seconds."""

    future: asyncio.Future[BatchAnswer]
    submitted: float
    deadline: float | None
    missing: int
    started: float = 0.0
    answers: dict[int, SessionAnswers] = field(default_factory=dict)

    def settle(self, place: int, answers: SessionAnswers, batch: Batch) -> None:
        """Take the answers of the part that stands at `place`; the last one completes the request."""
        if self.future.done():  # its client has gone, or another part has failed
            return
        if not self.answers or batch.started < self.started:
            self.started = batch.started
        self.answers[place] = answers
        if len(self.answers) < self.missing:
            return
        parts = [self.answers[place] for place in sorted(self.answers)]
        alone = len(parts) == 1
        self.future.set_result(
            BatchAnswer(
                output=parts[0].output if alone else np.concatenate([part.output for part in parts]),
                features=parts[0].features if alone else np.concatenate([part.features for part in parts]),
                queue_s=self.started - self.submitted,
                model_s=batch.ended - self.started,
                batch_images=batch.images,
            )
        )

    def fail(self, problem: Problem) -> None:
        if not self.future.done():
            self.future.set_exception(problem)


@dataclass(slots=True, eq=False)
class Part:
    """As many images of a request as one batch takes: uint8 [n, height, width, channel]."""

    ticket: Ticket
    place: int
    images: NDArray[np.uint8]


@dataclass(slots=True, eq=False)
class Batch:
    """Parts that one call of the model answers."""

    lane: Lane
    parts: list[Part]
    images: int
    started: float
    ended: float = 0.0
    outcomes: list[Outcome] = field(default_factory=list)

    def compute(self) -> None:
        """Ask the model; where that fails, once more for each part, so that a bad one fails alone."""
        run = self.lane.run
        if len(self.parts) == 1:
            self.outcomes = [_attempt(run, self.parts[0].images)]
        else:
            self._compute_together(run)
        self.ended = time.monotonic()

    def _compute_together(self, run: Run) -> None:
        try:
            together = _checked(run, np.concatenate([part.images for part in self.parts]))
        except Exception as error:  # noqa: BLE001 - whatever it is, the others shall be answered
            LOG.warning("a batch of %d images failed and is tried one by one: %s", self.images, _line(error))
            self.outcomes = [_attempt(run, part.images) for part in self.parts]
            return
        start = 0
        for part in self.parts:
            end = start + len(part.images)
            self.outcomes.append(SessionAnswers(together.output[start:end], together.features[start:end]))
            start = end


class Lane:
    """The queue of one model; made by `Scheduler.lane`.

    Attributes:
        run: The model: uint8 [n, height, width, channel] → answers; called in a thread.
        max_batch: Most images of a call.
        background: Served only while nothing waits in the other lanes.
        waiting: Parts that no worker has taken, the oldest first. Under the scheduler's lock.
        waiting_images: Their images.
    """

    def __init__(
        self, scheduler: Scheduler, run: Run, *, max_batch: int, background: bool, on_batch: OnBatch | None, room: Room
    ) -> None:
        self.run = run
        self.max_batch = max_batch
        self.background = background
        self.room = room
        self.waiting: deque[Part] = deque()
        self.waiting_images = 0
        self.closed = False
        self._scheduler = scheduler
        self._on_batch = on_batch
        self._unfinished = 0  # parts that wait or run; touched on the event loop only
        self._idle = asyncio.Event()

    async def submit(self, images: NDArray[np.uint8], *, deadline: float | None = None) -> BatchAnswer:
        """The model's answers to a request's images.

        Args:
            images: uint8 [n, height, width, channel], n ≥ 1, checked already.
            deadline: `time.monotonic()` after which nobody waits any more; None = no end.

        Raises:
            Problem: 429 = the queue is full, 503 = the deadline passed while it waited, or the lane is closed,
                500 = the model failed on these images.
        """
        assert len(images), "a request has images"
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        if deadline is not None and deadline <= now:
            raise expired("the deadline had passed before the request came to the queue")
        starts = range(0, len(images), self.max_batch)
        ticket = Ticket(loop.create_future(), now, deadline, len(starts))
        parts = [
            Part(ticket, place, images[start : start + self.max_batch] if len(starts) > 1 else images)
            for place, start in enumerate(starts)
        ]
        self._scheduler.put(self, parts, len(images), images.nbytes)
        self._unfinished += len(parts)
        timer = None if deadline is None else loop.call_later(deadline - now, self._expire, ticket)
        try:
            return await ticket.future
        except asyncio.CancelledError:
            self._withdraw(ticket)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            del ticket, parts  # an exception's traceback holds this frame, and the ticket would hold the exception

    async def drain(self) -> None:
        """Wait until nothing waits or runs in this lane."""
        while self._unfinished:
            self._idle.clear()
            await self._idle.wait()

    def close(self) -> None:
        """Take nothing more; what still waits is answered with 503. What runs is answered. From any thread."""
        parts = self._scheduler.remove(self)
        self.refuse_soon(parts, not_ready, ENDING)

    def finish(self, batch: Batch) -> None:
        """Hand out a batch's answers."""
        for part, outcome in zip(batch.parts, batch.outcomes, strict=True):
            if isinstance(outcome, str):
                LOG.error("the model failed on %d images: %s", len(part.images), outcome)
                part.ticket.fail(Problem(500, "the model failed on these images", reason="model"))
                self._withdraw(part.ticket)
            else:
                part.ticket.settle(part.place, outcome, batch)
        self._count_off(len(batch.parts))
        if self._on_batch is not None:
            self._on_batch(batch.images, batch.ended - batch.started)

    def refuse_soon(self, parts: list[Part], kind: Callable[[str], Problem], detail: str) -> None:
        """Answer parts that left the queue unseen, and drop the rest of their requests. From any thread."""
        if parts:
            call_soon(parts[0].ticket, self._refuse, parts, kind, detail)

    def _refuse(self, parts: list[Part], kind: Callable[[str], Problem], detail: str) -> None:
        for part in parts:
            part.ticket.fail(kind(detail))
            self._withdraw(part.ticket)
        self._count_off(len(parts))

    def _expire(self, ticket: Ticket) -> None:
        """The deadline has come. A request that is all with the model is answered all the same, a little late."""
        if self._withdraw(ticket):
            ticket.fail(expired(LATE))

    def _withdraw(self, ticket: Ticket) -> int:
        parts = self._scheduler.withdraw(self, ticket)
        self._count_off(parts)
        return parts

    def _count_off(self, parts: int) -> None:
        self._unfinished -= parts
        if not self._unfinished:
            self._idle.set()


def call_soon(ticket: Ticket, callback: Callable[..., None], *arguments: object) -> None:
    """Call back on a ticket's event loop, from any thread; where the loop has ended, nobody waits any more."""
    loop = ticket.future.get_loop()
    try:
        loop.call_soon_threadsafe(callback, *arguments)
    except RuntimeError:
        if not loop.is_closed():
            raise


def _attempt(run: Run, images: NDArray[np.uint8]) -> Outcome:
    try:
        return _checked(run, images)
    except Exception as error:  # noqa: BLE001 - a worker outlives whatever a model raises
        return _line(error)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _checked(run: Run, images: NDArray[np.uint8]) -> SessionAnswers:
    answers = run(images)
    if len(answers.output) != len(images) or len(answers.features) != len(images):
        found = f"{len(answers.output)} answers and {len(answers.features)} rows of features"
        raise BundleError(f"the model gave {found} to {len(images)} images")
    return answers
