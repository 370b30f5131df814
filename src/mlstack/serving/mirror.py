"""Shadow traffic: another model gets the same pictures in the background, and its answers are compared, never given."""

from __future__ import annotations

import asyncio
import time

from mlstack.monitoring.shadow import ShadowComparison
from mlstack.serving.catalogue import Catalogue
from mlstack.serving.problems import Problem
from mlstack.serving.scheduler import Lane, Scheduler
from mlstack.serving.served_model import ServedModel
from mlstack.serving.watching import Outcome


class Mirror:
    """Shows answered requests to the shadow. On the event loop.

    Args:
        label: The shadow.
        catalogue: Where it is found, also when a new version of it is loaded.
        scheduler: Computes its answers while nothing else waits.
    """

    def __init__(self, label: str, catalogue: Catalogue, scheduler: Scheduler) -> None:
        self.label = label
        self._catalogue = catalogue
        self._scheduler = scheduler
        self._model: ServedModel | None = None
        self._lane: Lane | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.comparison: ShadowComparison | None = None

    def show(self, outcome: Outcome) -> None:
        """Let the shadow answer what was just answered, unless it is of another kind of model."""
        model = self._catalogue.models.get(self.label)
        if model is None or model is outcome.model:
            return
        if model is not self._model:
            self._begin(model)
        if model.picture != outcome.model.picture or model.metadata.classes != outcome.model.metadata.classes:
            return
        task = asyncio.get_running_loop().create_task(self._compare(model, outcome))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin(self, model: ServedModel) -> None:
        """Count afresh for a shadow that was just loaded."""
        if self._lane is not None:
            self._lane.close()
        self._model = model
        self._lane = self._scheduler.lane(model.run, max_batch=model.lane.max_batch, background=True)
        self.comparison = ShadowComparison(model.metadata.task, len(model.metadata.classes))

    async def _compare(self, model: ServedModel, outcome: Outcome) -> None:
        lane, comparison = self._lane, self.comparison
        assert lane is not None
        assert comparison is not None
        with self._catalogue.lease(model):
            started = time.perf_counter()
            try:
                shadow = await lane.submit(outcome.images)
            except Problem as problem:
                if problem.status == 500:
                    comparison.fail()
                else:
                    comparison.drop()
                return
            took = time.perf_counter() - started
        comparison.observe(outcome.answer.output, shadow.output, seconds=outcome.seconds, shadow_seconds=took)
