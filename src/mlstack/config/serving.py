"""The schema of the serving command: the service, its limits, experiments, drift, alerts and the journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlstack.config.keys import group, key

SERVING_DEVICES = ("auto", "cpu", "cuda")


@dataclass
class RolloutConfig:
    """How a canary gets its share, and what takes it away again."""

    automatic: bool = key(True, "Go up by step, promote and roll back without being asked; false = only by hand")
    steps: list[float] = key([1, 5, 25, 50, 100], "Shares of the canary, one after the other", unit="%", above=0)
    step_requests: int = key(500, "Answers of the canary before the next step", unit="requests", minimum=1)
    step_seconds: float = key(60.0, "Least time of a step", unit="seconds", minimum=0)
    min_requests: int = key(100, "Answers of the canary before a hard limit counts", unit="requests", minimum=1)
    max_error_rate: float = key(0.05, "Hard limit: share of failed answers", minimum=0, maximum=1)
    max_error_ratio: float = key(2.0, "Hard limit: failed answers, relative to the stable model's", minimum=1)
    max_latency_ratio: float = key(2.0, "Hard limit: latency, relative to the stable model's", minimum=1)
    alpha: float = key(
        0.05, "Chance, over the whole rollout, to roll back a canary that is no worse", above=0, maximum=0.5
    )


@dataclass
class DriftConfig:
    """What is compared with the pictures that the model was validated on."""

    enabled: bool = key(True, "Watch for drift")
    window: int = key(500, "Newest answers that are compared", unit="images", minimum=50)
    every: int = key(50, "Compare after so many new answers", unit="images", minimum=1)
    # 0.01 raises alarms in 0.9 to 1.1 % of windows without drift (5,000 a time), and finds a growing class no sooner.
    alpha: float = key(0.008, "Chance of a false alarm in one comparison, over all its tests", above=0, maximum=0.5)
    images_per_s: float = key(50.0, "Most pictures looked at in a second; the others go by", unit="images/s", above=0)


@dataclass
class AlertConfig:
    """Limits that raise an alert, and who is told."""

    window_s: float = key(60.0, "Time that a limit looks back", unit="seconds", above=0)
    p95_ms: float | None = key(100.0, "95th percentile of latency above this; null = off", unit="milliseconds", above=0)
    error_rate: float | None = key(0.01, "Share of failed answers above this; null = off", minimum=0, maximum=1)
    confidence: float | None = key(0.5, "Mean confidence below this; null = off", minimum=0, maximum=1)
    webhook: str | None = key(None, "Address that gets each alert as JSON by POST; null = none")
    file: str | None = key(None, "File that gets each alert as a line of JSON; null = none", path=True)


@dataclass
class JournalConfig:
    """A sample of requests on the disk, to train from: train.py data=journal data.path=FOLDER."""

    folder: str | None = key(None, "Where the journal is written; null = no journal", path=True)
    fraction: float = key(0.01, "Share of the pictures that are kept", minimum=0, maximum=1)
    max_mb: float = key(1000.0, "Most space it takes; the oldest go first", unit="MB", above=0)


@dataclass
class ServeSettings:
    """The service."""

    host: str = key("127.0.0.1", "Address to listen on; another than the own machine needs keys")
    port: int = key(8000, "Port to listen on; 0 = any free one", minimum=0, maximum=65535)
    api_keys_file: str | None = key(None, "Keys of clients, hashed, one a line; null = everybody may ask", path=True)
    allow_anonymous: bool = key(False, "Listen on other addresses without keys all the same")
    rate_limit: float | None = key(None, "Requests a second of one key or address; null = no limit", above=0)
    rate_burst: int = key(20, "Requests that one may send at once before rate_limit counts", minimum=1)
    cors_origins: list[str] = key([], "Web sites whose pages may ask, such as https://example.org; [] = none")
    docs: bool = key(True, "Serve /docs, /openapi.json and the page at /")
    default: str | None = key(None, "Model that /predict asks; null = the first one")
    precision: str | None = key(None, "Which model file: fp32, int8, int8_dynamic, fp16; null = the bundle's default")
    device: str = key("auto", "Where models run; auto = CUDA where it is", choices=SERVING_DEVICES)
    workers: int | None = key(None, "Batches that run at once; null = usable cores", minimum=1)
    threads: int = key(1, "Threads of one batch", minimum=1)
    max_batch: int | None = key(
        None, "Most images in a batch; null = 8 where that is faster than 1 by 1, measured at the start", minimum=1
    )
    max_wait_ms: float = key(0.0, "Time a free worker waits for a batch to fill", unit="milliseconds", minimum=0)
    queue_images: int = key(256, "Images that may wait; beyond: 429", unit="images", minimum=1)
    queue_mb: float = key(256.0, "Bytes that may wait; beyond: 429", unit="MB", above=0)
    deadline_ms: float = key(10000.0, "Time a request may take before it is dropped", unit="milliseconds", above=0)
    max_body_mb: float = key(16.0, "Largest body of a request", unit="MB", above=0)
    max_megapixels: float = key(40.0, "Largest picture", unit="megapixels", above=0)
    max_images: int = key(64, "Most images of one request", unit="images", minimum=1)
    read_timeout_s: float = key(10.0, "Time for a request's head, and for its body", unit="seconds", above=0)
    max_connections: int = key(2000, "Connections at once; beyond: 503", minimum=1)
    cache_mb: float = key(0.0, "Answers that are remembered by their picture's content; 0 = none", unit="MB", minimum=0)
    reload_s: float = key(
        2.0, "Look for new bundles this often; 0 = only on POST /admin/reload", unit="seconds", minimum=0
    )
    drain_s: float = key(30.0, "Time that accepted requests get at the end", unit="seconds", minimum=0)
    access_log: bool = key(True, "A line of JSON on stderr for each request")
    split: dict[str, Any] = key({}, "A/B: models and their shares, {a:90,b:10}")
    canary: str | None = key(None, "Model that takes over step by step; null = none")
    shadow: str | None = key(None, "Model that gets every request too and never answers; null = none")
    rollout: RolloutConfig = group(RolloutConfig)
    drift: DriftConfig = group(DriftConfig)
    alerts: AlertConfig = group(AlertConfig)
    journal: JournalConfig = group(JournalConfig)


@dataclass
class ServeConfig:
    """Turn one or several bundles into an HTTP service."""

    bundle: list[str] = key(["latest"], "Bundle folders, run folders, or folders of bundles; latest", path=True)
    output_dir: str = key("outputs", "Folder in which latest is looked for", path=True)
    serve: ServeSettings = group(ServeSettings)
