"""What the service learns from each answer: metrics, traffic, drift, alerts, the experiment, the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.reference import REFERENCE, read_reference
from mlstack.config.serving import ServeSettings
from mlstack.monitoring.alerts import AlertBoard
from mlstack.monitoring.drift import DriftMonitor
from mlstack.monitoring.experiment import Experiment
from mlstack.monitoring.rollout import Decision
from mlstack.serving.answer_log import Answered, AnswerLog
from mlstack.serving.answers import confidence, winners
from mlstack.serving.input_problems import quoted
from mlstack.serving.journal import Journal
from mlstack.serving.logs import JsonLog
from mlstack.serving.messages import REQUEST_ID
from mlstack.serving.metrics import Metrics
from mlstack.serving.problems import bad_request, not_found
from mlstack.serving.scheduler import BatchAnswer
from mlstack.serving.served_model import ServedModel
from mlstack.serving.traffic import Traffic
from mlstack.utils.journal_files import check_label

UNJUDGED = -1  # in place of a predicted class: there is none, or its true label has come
REMEMBERED = 20_000  # answers that feedback can name
EVERY = 1.0  # seconds between two looks at alerts


@dataclass
class Watched:
    """What is known of one model since it was loaded."""

    model: ServedModel
    drift: DriftMonitor | None
    requests: int = 0
    images: int = 0
    checking: bool = False


@dataclass
class Outcome:
    """An answered request, as the rooms that watch see it.

    Attributes:
        request_id: Of the request.
        model: That answered.
        images: uint8 [n, height, width, channel], as the model saw them.
        answer: Of the model.
        decode_s: Time to read and decode the input, in seconds.
        seconds: From the request's head to now.
    """

    request_id: str
    model: ServedModel
    images: NDArray[np.uint8]
    answer: BatchAnswer
    decode_s: float
    seconds: float


@dataclass
class Watching:
    """Everything that looks at answers; on the event loop."""

    settings: ServeSettings
    metrics: Metrics
    traffic: Traffic
    alerts: AlertBoard
    logs: JsonLog
    journal: Journal | None
    experiment: Experiment | None = None
    answers: AnswerLog = field(default_factory=lambda: AnswerLog(REMEMBERED))
    models: dict[str, Watched] = field(default_factory=dict)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def begin(self, experiment: Experiment | None) -> None:
        """Watch an experiment too."""
        self.experiment = experiment
        if experiment is not None:
            self.show_shares()

    def loaded(self, model: ServedModel) -> None:
        """Begin to watch a model, or a new version of it: drift is counted from here on."""
        drift = None
        if self.settings.drift.enabled:
            reference = read_reference(model.bundle.path / REFERENCE, model.metadata)
            drift = DriftMonitor(reference, model.metadata, self.settings.drift)
        before = self.models.get(model.label)
        if before is not None:
            self.metrics.info.remove(*_info(before.model))
        self.metrics.info.labels(*_info(model)).set(1)
        self.metrics.failures.labels(model.label)  # rate() misses a series' first step: begin at 0
        self.models[model.label] = Watched(model, drift)
        if before is None:
            return
        self._forget_drift(model.label)
        self.answers.outdate(model.label)
        if self.experiment is not None and model.label in self.experiment.arms:
            self.decided(self.experiment.replaced(model.label))

    def changed(self, model: ServedModel, result: str) -> None:
        """Take note of what the catalogue does: a model is about to be `loaded`, or was `removed`."""
        self.metrics.reloads.labels(model.label, result).inc()
        if result == "loaded":
            self.loaded(model)
        elif result == "removed":
            self.removed(model.label)

    def refused(self, label: str) -> None:
        """Count a bundle that is not served."""
        self.metrics.reloads.labels(label, "refused").inc()

    def batch(self, label: str, images: int, seconds: float) -> None:
        """Count a batch that was computed."""
        self.traffic.batch(images)
        self.metrics.of(label).batch.observe(images)

    def removed(self, label: str) -> None:
        """Forget a model that is no longer served."""
        if (before := self.models.pop(label, None)) is not None:
            self.metrics.info.remove(*_info(before.model))
            self._forget_drift(label)

    def answered(self, outcome: Outcome) -> None:
        """Learn from an answer."""
        model, answer = outcome.model, outcome.answer
        sure = confidence(model.metadata.task, answer.output)
        series = self.metrics.of(model.label)
        series.latency.observe(outcome.seconds)
        series.queue.observe(answer.queue_s)
        series.decode.observe(outcome.decode_s)
        series.model.observe(answer.model_s)
        series.images.inc(len(outcome.images))
        if sure is not None:
            series.confidence.observe(sure)
        self.traffic.record(outcome.seconds, images=len(outcome.images), failed=False)
        self.alerts.observe(outcome.seconds, failed=False, confidence=sure)
        watched = self.models.get(model.label)
        is_current = watched is not None and watched.model is model
        self._remember(outcome, outdated=not is_current)
        if watched is not None and is_current:
            self._count(watched, outcome)
            self._experiment_saw(model.label, failed=False, seconds=outcome.seconds, sure=sure)

    def failed(self, label: str, seconds: float) -> None:
        """Learn from a request that the service could not answer though it should have."""
        self.metrics.failures.labels(label).inc()
        self.traffic.record(seconds, images=0, failed=True)
        self.alerts.observe(seconds, failed=True, confidence=None)
        self._experiment_saw(label, failed=True, seconds=seconds, sure=None)

    def feedback(self, request_id: str, labels: Sequence[Any]) -> dict[str, Any]:
        """Take the true labels of an answer, one for each picture, or null for one that nobody knows.

        Raises:
            Problem: 404 = no such answer (or too long ago); 400 = labels that don't fit it.
        """
        known = self.answers.find(request_id) if REQUEST_ID.fullmatch(request_id) else None
        watched = self.models.get(known.arm) if known else None
        if known is None or watched is None:
            raise not_found(f"no answer with request_id {quoted(request_id)} among the last {REMEMBERED:,}")
        metadata = watched.model.metadata
        if len(labels) != len(known.predicted):
            raise bad_request(f"{len(labels)} labels for an answer about {len(known.predicted)}: send one for each")
        try:
            true = [
                None if label is None else check_label(label, task=metadata.task, classes=watched.model.names)
                for label in labels
            ]
        except ValueError as error:
            raise bad_request(f"label: {error}") from error
        both = zip(known.predicted, true, strict=True)
        judged = [given == one for given, one in both if one is not None and given != UNJUDGED]
        for right in judged:
            self.metrics.feedback.labels(known.arm, str(right).lower()).inc()
        if judged and not known.outdated and self.experiment is not None and known.arm in self.experiment.arms:
            # Pictures of one request are alike, and the test takes its observations for independent: one a request.
            self.decided(self.experiment.feedback(known.arm, right=all(judged)))
        if judged:  # who tells the same twice, as a client that tries again does, is counted once
            self.answers.remember(request_id, known._replace(predicted=(UNJUDGED,) * len(labels)))
        kept = self.journal is not None and known.journaled and self.journal.feedback(request_id, labels)
        counts = {"right": judged.count(True), "wrong": judged.count(False)}
        return {"request_id": request_id, "model": known.arm, **counts, "journaled": kept}

    def decided(self, decisions: Sequence[Decision]) -> None:
        """Log and count what was decided about the canary."""
        for decision in decisions:
            self.metrics.decisions.labels(decision.kind).inc()
            self.logs.event("canary", **decision.as_dict())
        if self.experiment is not None and decisions:
            self.show_shares()

    def show_shares(self) -> None:
        """Put the arms' shares into the metrics."""
        assert self.experiment is not None
        for arm, share in self.experiment.shares().items():
            self.metrics.share.labels(arm).set(share)

    async def look(self) -> None:
        """Look at the limits of alerts again and again, also while nothing comes in."""
        while True:
            for alert in self.alerts.check():
                self.metrics.alert.labels(alert.name).set(float(alert.resolved is None))
                self.logs.event("alert", **alert.as_dict())
            await asyncio.sleep(EVERY)

    def _forget_drift(self, label: str) -> None:
        """What drifted is no longer served."""
        self.alerts.set_drift(label, False)
        self.metrics.drift.labels(label).set(0)

    def _count(self, watched: Watched, outcome: Outcome) -> None:
        watched.requests += 1
        watched.images += len(outcome.images)
        if watched.drift is None:
            return
        watched.drift.observe(outcome.images, outcome.answer.output, outcome.answer.features)
        if watched.drift.due() and not watched.checking:
            watched.checking = True
            task = asyncio.get_running_loop().create_task(self._check_drift(watched))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _check_drift(self, watched: Watched) -> None:
        assert watched.drift is not None
        try:
            report = await asyncio.to_thread(watched.drift.check)
        finally:
            watched.checking = False
        label = watched.model.label
        if self.models.get(label) is not watched:
            return  # another version is served by now
        self.metrics.drift.labels(label).set(float(report.drifting))
        for test in report.as_dict()["tests"]:
            self.metrics.drift_statistic.labels(label, test["name"]).set(test["statistic"])
        self.alerts.set_drift(label, report.confirmed)  # `drifting` alone is wrong three times as often

    def _remember(self, outcome: Outcome, *, outdated: bool) -> None:
        model, output = outcome.model, outcome.answer.output
        predicted = winners(model.metadata.task, output) or (UNJUDGED,) * len(output)
        journaled = self.journal is not None and self.journal.record(
            outcome.request_id, model.label, model.shown, outcome.images, output
        )
        self.answers.remember(outcome.request_id, Answered(model.label, predicted, journaled, outdated))

    def _experiment_saw(self, label: str, *, failed: bool, seconds: float, sure: float | None) -> None:
        if self.experiment is not None and label in self.experiment.arms:
            self.decided(self.experiment.record(label, failed=failed, seconds=seconds, confidence=sure))


def _info(model: ServedModel) -> tuple[str, str, str, str]:
    return model.label, model.metadata.version, model.precision, model.provider
