"""What Prometheus reads at /metrics. Names are part of the service: alert rules and dashboards rely on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from mlstack.utils.hardware import gpu_utilization

LATENCY = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0)  # seconds
STEPS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)  # seconds
BATCH = (1, 2, 4, 8, 16, 32, 64, 128)
CONFIDENCE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class ModelMetrics:
    """The series of one model, looked up once: a lookup costs more than counting."""

    images: Counter
    latency: Histogram
    queue: Histogram
    decode: Histogram
    model: Histogram
    batch: Histogram
    confidence: Histogram


class Metrics:
    """Every series of the service.

    Args:
        waiting: Pictures that wait now.
        in_flight: Requests that are being answered now.
    """

    def __init__(self, *, waiting: Callable[[], float], in_flight: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self._models: dict[str, ModelMetrics] = {}
        self._requests: dict[tuple[str, int], Counter] = {}
        self.requests = self._counter("inference_requests", "Requests that were answered", "model", "status")
        self.rejections = self._counter("inference_rejections", "Requests that were refused", "reason")
        self.failures = self._counter("inference_failures", "Requests that a model could not answer", "model")
        self.images = self._counter("inference_images", "Images that were answered", "model")
        self.feedback = self._counter("inference_feedback", "True labels that came back", "model", "right")
        self.decisions = self._counter("experiment_decisions", "Decisions about the canary", "kind")
        self.reloads = self._counter("model_reloads", "Models that were loaded, refused or removed", "model", "result")
        self.latency = self._histogram("inference_latency_seconds", "From a request's head to its answer", LATENCY)
        self.queue = self._histogram("inference_queue_seconds", "Time in the queue", STEPS)
        self.decode = self._histogram("inference_decode_seconds", "Time to read and decode a request's input", STEPS)
        self.model = self._histogram("inference_model_seconds", "Time of the batch in the model", STEPS)
        self.batch = self._histogram("inference_batch_size", "Images in a batch", BATCH)
        self.confidence = self._histogram("inference_confidence", "Mean confidence of a request's answers", CONFIDENCE)
        self.share = self._gauge("experiment_share", "Share of requests that a model gets, 0 to 1", "model")
        self.drift = self._gauge("inference_drift", "1 = the model's input or output has drifted", "model")
        self.drift_statistic = self._gauge("inference_drift_statistic", "Statistic of each test", "model", "test")
        self.alert = self._gauge("inference_alert", "1 = the alert is raised", "alert")
        self.info = self._gauge("model_info", "1 for each model", "model", "version", "precision", "provider")
        self.ready = self._gauge("service_ready", "1 = the service takes requests")
        self._now("inference_waiting_images", "Images that wait now", waiting)
        self._now("inference_in_flight_requests", "Requests that are being answered now", in_flight)
        self._now("process_resident_memory_bytes", "Memory of the process", memory_bytes)
        self._now("process_cpu_seconds_total", "CPU time of the process, in seconds", lambda: sum(os.times()[:2]))
        if gpu_utilization() is not None:
            self._now("gpu_utilization_ratio", "How busy the GPU is, 0 to 1", lambda: gpu_utilization() or 0.0)

    def of(self, model: str) -> ModelMetrics:
        """The series of a model."""
        if model not in self._models:
            by_model = (self.latency, self.queue, self.decode, self.model, self.batch, self.confidence)
            series = (histogram.labels(model) for histogram in by_model)
            self._models[model] = ModelMetrics(self.images.labels(model), *series)
        return self._models[model]

    def answered(self, model: str, status: int) -> None:
        """Count an answer; `model` is empty where none was asked."""
        key = (model, status)
        if key not in self._requests:
            self._requests[key] = self.requests.labels(model, str(status))
        self._requests[key].inc()

    def watch_journal(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Also show a journal: records that were written, dropped (its queue was full) and lost (the disk was)."""

        def count(name: str) -> float:
            return float(status()[name])

        for name in ("written", "dropped", "lost"):
            self._now(f"journal_{name}_records", f"Records that were {name}", partial(count, name))

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    def _histogram(self, name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, meaning, ["model"], buckets=buckets, registry=self.registry)

    def _now(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        Gauge(name, meaning, registry=self.registry).set_function(read)


def memory_bytes() -> float:
    """Memory that the process holds (RSS); 0 where the system doesn't tell."""
    try:
        return float(int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, IndexError):
        return 0.0
