"""From a request with pictures to an answer: which model, decode, queue, run, and what is learnt from it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mlstack.config.serving import ServeSettings
from mlstack.datasets.decode import PictureRule
from mlstack.monitoring.experiment import Experiment
from mlstack.serving.answer_cache import AnswerCache
from mlstack.serving.answers import json_response, now, predictions
from mlstack.serving.catalogue import Catalogue
from mlstack.serving.inputs import InputLimits, read_inputs
from mlstack.serving.jobs import Worker
from mlstack.serving.messages import Head, Request, Response
from mlstack.serving.mirror import Mirror
from mlstack.serving.pictures import PictureDecoder, PixelBudget
from mlstack.serving.problems import Problem, bad_request, not_ready
from mlstack.serving.scheduler import BatchAnswer, Scheduler
from mlstack.serving.served_model import ServedModel
from mlstack.serving.watching import Outcome, Watching
from mlstack.utils.hardware import usable_cores

TOP_K = 5
AT_ONCE = 2**18  # bytes of a body that is read on the event loop; a larger one would hold up the others
MOST_RULES = 16  # ways to prepare pictures that are remembered
MODEL_HEADER = "x-model"


@dataclass
class Predictor:
    """Answers requests that carry pictures."""

    settings: ServeSettings
    catalogue: Catalogue
    scheduler: Scheduler
    watching: Watching
    pool: ThreadPoolExecutor
    experiment: Experiment | None
    cache: AnswerCache | None
    mirror: Mirror | None

    def __post_init__(self) -> None:
        pixels = int(self.settings.max_megapixels * 1e6)
        self.limits = InputLimits(max_images=self.settings.max_images, max_pixels=pixels)
        self._budget = PixelBudget(pixels)
        # Fewer workers than cores, as for a GPU, would leave cores idle.
        self._decoding: Worker = self.scheduler if self.scheduler.workers >= usable_cores() else self.pool
        self._decoders: dict[PictureRule, PictureDecoder] = {}

    async def predict(self, request: Request, names: dict[str, str]) -> Response:
        """`POST /v1/models/{name}/predict`, and `POST /predict` for the default model or the experiment."""
        head = request.head
        top_k = _top_k(head)
        label = names.get("name") or self.choose(head)
        async with self.model(label, head) as model:
            kind = head.headers.get("content-type", "")
            read = partial(read_inputs, kind, request.body, model.picture, self.limits)
            outcome = await self.ask(model, head, read, len(request.body))
            return self._response(outcome, top_k)

    def choose(self, head: Head) -> str | None:
        """The model of a request that names none: by `x-variant`, by the experiment, or the default one."""
        if self.experiment is None:
            return self.settings.default
        forced = head.headers.get("x-variant")
        if forced is None:
            arm = self.experiment.choose(head.headers.get("x-user-id") or head.id)
            return arm if arm in self.catalogue.models else self.settings.default  # it may have been taken away
        if forced not in self.experiment.arms:
            allowed = ", ".join(self.experiment.arms)
            raise bad_request(f"x-variant: {forced!r} is no arm of the experiment; allowed: {allowed}")
        return forced

    @asynccontextmanager
    async def model(self, label: str | None, head: Head) -> AsyncIterator[ServedModel]:
        """A model that stays loaded as long as the block lasts; what fails inside counts against it."""
        if not self.catalogue.models:
            raise not_ready("no model is loaded yet: GET /ready says when one is")
        model = self.catalogue.get(label)
        with self.catalogue.lease(model):
            try:
                yield model
            except Exception as error:
                seconds = time.perf_counter() - head.received
                if not isinstance(error, Problem) or self._is_to_blame(error, seconds):
                    self.watching.failed(model.label, seconds)
                raise

    def _is_to_blame(self, problem: Problem, seconds: float) -> bool:
        """Whether the model failed, or took longer than the service allows, and not only than its client waits."""
        return problem.status == 500 or (problem.reason == "deadline" and seconds >= self.settings.deadline_ms / 1000)

    async def ask(
        self,
        model: ServedModel,
        head: Head,
        read: Callable[[], NDArray[np.uint8] | list[bytes]],
        size: int,
    ) -> Outcome:
        """Read a request's pictures, let the model answer, and learn from it.

        Args:
            model: Under a lease.
            head: Of the request.
            read: Returns the pictures, or files that are still to be decoded.
            size: Of the body that it reads, in bytes.

        Raises:
            Problem: The input is wrong, the queue full, the deadline over, or the model failed.
        """
        deadline = time.monotonic() + self._patience(head)
        if not self.scheduler.has_room(1, 0):
            raise self.scheduler.full()
        started = time.perf_counter()
        pictures = read() if size <= AT_ONCE else await asyncio.get_running_loop().run_in_executor(self.pool, read)
        if isinstance(pictures, list):
            pictures = await self._decoder(model).decode(pictures)
        decode_s = time.perf_counter() - started
        answer = await self._answer(model, pictures, deadline)
        outcome = Outcome(head.id, model, pictures, answer, decode_s, time.perf_counter() - head.received)
        self.watching.answered(outcome)
        if self.mirror is not None:
            self.mirror.show(outcome)
        return outcome

    def _decoder(self, model: ServedModel) -> PictureDecoder:
        """By rule: a new version of a model has the same one, most likely."""
        if model.rule not in self._decoders:
            while len(self._decoders) >= MOST_RULES:
                del self._decoders[next(iter(self._decoders))]
            self._decoders[model.rule] = PictureDecoder(
                model.rule, self.limits, self._decoding, self.pool, self._budget
            )
        return self._decoders[model.rule]

    async def _answer(self, model: ServedModel, images: NDArray[np.uint8], deadline: float) -> BatchAnswer:
        if self.cache is None:
            return await model.lane.submit(images, deadline=deadline)
        version = f"{model.metadata.version} {model.loaded_at}"  # another bundle may have the same version
        known = self.cache.get(model.label, version, images)
        if known is None:
            known = await model.lane.submit(images, deadline=deadline)
            self.cache.put(model.label, version, images, known)
        return known

    def _patience(self, head: Head) -> float:
        """Seconds that the client will wait."""
        allowed = self.settings.deadline_ms / 1000
        given = head.headers.get("x-deadline-ms")
        if given is None:
            return allowed
        try:
            wanted = float(given) / 1000
        except ValueError:
            wanted = 0.0
        if not wanted > 0:
            raise bad_request(f"x-deadline-ms: {given!r} is no number of milliseconds above 0")
        return min(wanted, allowed)

    def _response(self, outcome: Outcome, top_k: int) -> Response:
        model, answer = outcome.model, outcome.answer
        metadata = model.metadata
        response = json_response(
            {
                "predictions": predictions(metadata.task, answer.output, model.names, top_k),
                "model": model.label,
                "version": metadata.version,
                "request_id": outcome.request_id,
                "timestamp": now(),
                "timing_ms": timing(outcome),
            }
        )
        response.headers = ((MODEL_HEADER, model.label),)
        return response


def timing(outcome: Outcome) -> dict[str, float]:
    """Where the time of a request went, in milliseconds."""
    answer = outcome.answer
    parts = {"queue": answer.queue_s, "decode": outcome.decode_s, "model": answer.model_s, "total": outcome.seconds}
    return {name: round(seconds * 1000, 3) for name, seconds in parts.items()}


def _top_k(head: Head) -> int:
    given = head.query.get("top_k")
    if given is None:
        return TOP_K
    if not (given.isascii() and given.isdigit() and len(given) < 7 and int(given) > 0):
        raise bad_request(f"top_k={given!r} is no whole number from 1 on")
    return int(given)
