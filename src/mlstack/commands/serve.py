"""Turn one or several bundles into an HTTP service: put its parts together, run it until it is told to end."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from mlstack.config.serving import ServeConfig, ServeSettings
from mlstack.errors import ConfigError
from mlstack.monitoring.alert_senders import AlertSenders
from mlstack.monitoring.alerts import AlertBoard
from mlstack.monitoring.experiment import Experiment
from mlstack.serving import life
from mlstack.serving.answer_cache import AnswerCache
from mlstack.serving.catalogue import Catalogue
from mlstack.serving.handlers import Handlers
from mlstack.serving.http_server import HttpLimits, HttpServer
from mlstack.serving.journal import Journal
from mlstack.serving.keys import KeyRing
from mlstack.serving.logs import JsonLog
from mlstack.serving.metrics import Metrics
from mlstack.serving.mirror import Mirror
from mlstack.serving.predicting import Predictor
from mlstack.serving.rate_limits import RateLimits
from mlstack.serving.scheduler import Scheduler
from mlstack.serving.served_model import CUDA
from mlstack.serving.service import Service
from mlstack.serving.traffic import Traffic
from mlstack.serving.watching import Watching
from mlstack.utils.console import say
from mlstack.utils.hardware import usable_cores

MEGABYTE = 10**6


def serve(config: ServeConfig) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what was accepted.

    Raises:
        BundleError: A bundle is damaged, or does not answer as it did at export.
        ConfigError: Settings that can't work, or an address that can't be listened on.
        SystemExit: With status 1 where accepted requests had to be cut off.
    """
    warnings.filterwarnings("ignore", module="PIL")  # of odd files, such as broken EXIF: they are the clients' own
    status = life.run(lambda: _serve(config))
    if status:
        raise SystemExit(status)


async def _serve(config: ServeConfig) -> int:
    settings = config.serve
    with _parts(config) as (service, catalogue, watching):
        limits = HttpLimits(
            max_body_bytes=int(settings.max_body_mb * MEGABYTE),
            read_timeout_s=settings.read_timeout_s,
            max_connections=settings.max_connections,
        )
        server = HttpServer(service, limits, on_refusal=service.refused_early)
        background = [asyncio.create_task(watching.look())]
        if settings.reload_s > 0:
            background.append(asyncio.create_task(catalogue.watch(settings.reload_s)))
        try:
            return await life.serve_until_stopped(
                server,
                host=settings.host,
                port=settings.port,
                drain_s=settings.drain_s,
                on_listening=lambda port: _listening(settings, catalogue, port),
                on_stopping=service.stop,
            )
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await catalogue.close()


@contextmanager
def _parts(config: ServeConfig) -> Iterator[tuple[Service, Catalogue, Watching]]:
    """Everything but the HTTP server, with the models loaded; closed in the opposite order."""
    settings = config.serve
    with ExitStack() as closing:
        keys = KeyRing(settings.api_keys_file) if settings.api_keys_file is not None else None
        logs = JsonLog()
        logs.capture()
        logs.capture("mlstack.monitoring")
        closing.callback(logs.close)
        journal = _journal(settings)
        if journal is not None:
            closing.callback(journal.close)
        cores = settings.workers or usable_cores()
        pool = closing.enter_context(ThreadPoolExecutor(usable_cores(), thread_name_prefix="decode"))
        scheduler = Scheduler(
            cores,
            queue_images=settings.queue_images,
            queue_bytes=int(settings.queue_mb * MEGABYTE),
            max_wait_s=settings.max_wait_ms / 1000,
        )
        closing.callback(scheduler.close)
        senders = AlertSenders(settings.alerts)
        closing.callback(senders.close)
        alerts = AlertBoard(settings.alerts, send=senders.send)
        service = _service(config, scheduler, pool, keys, logs, alerts, journal)
        yield service, service.handlers.catalogue, service.handlers.watching


def _service(
    config: ServeConfig,
    scheduler: Scheduler,
    pool: ThreadPoolExecutor,
    keys: KeyRing | None,
    logs: JsonLog,
    alerts: AlertBoard,
    journal: Journal | None,
) -> Service:
    """The application, with its models loaded."""
    settings = config.serve
    metrics = Metrics(waiting=lambda: scheduler.waiting_images, in_flight=lambda: service.in_flight)
    watching = Watching(settings, metrics, Traffic(), alerts, logs, journal)
    catalogue = Catalogue(
        config.bundle,
        config.output_dir,
        settings,
        scheduler,
        on_change=watching.changed,
        on_refusal=watching.refused,
        on_batch=watching.batch,
    )
    catalogue.load()
    _check_names(settings, list(catalogue.models))
    experiment = _experiment(settings, [label for label in catalogue.models if label != settings.shadow])
    watching.begin(experiment)
    cache = AnswerCache(int(settings.cache_mb * MEGABYTE)) if settings.cache_mb else None
    mirror = Mirror(settings.shadow, catalogue, scheduler) if settings.shadow else None
    predictor = Predictor(settings, catalogue, scheduler, watching, pool, experiment, cache, mirror)
    handlers = Handlers(settings, catalogue, predictor, watching, metrics, experiment, lambda: service.ready, keys)
    rates = RateLimits(settings.rate_limit, settings.rate_burst) if settings.rate_limit is not None else None
    service = Service(settings, handlers, metrics, logs, keys, rates)
    metrics.ready.set(float(service.ready))
    if journal is not None:
        metrics.watch_journal(journal.status)
    return service


def _experiment(settings: ServeSettings, labels: list[str]) -> Experiment | None:
    """The experiment that the settings describe; None = one model answers everything.

    Raises:
        ConfigError: It names a model that is not served.
    """
    if settings.canary is None and not settings.split:
        return None
    others = [label for label in labels if label != settings.canary]
    if not others:
        message = f"serve.canary={settings.canary} needs a stable model beside it, and bundle= names no other"
        raise ConfigError(message, key="serve.canary", hint="such as 'bundle=[stable,canary]'")
    stable = settings.default or next((label for label in others if label in settings.split), others[0])
    split = settings.split or None
    return Experiment(labels, stable=stable, split=split, canary=settings.canary, rules=settings.rollout)


def _check_names(settings: ServeSettings, labels: list[str]) -> None:
    """Refuse names of models that are not served, and see to it that a shadow is never the default model.

    Raises:
        ConfigError: It names the models.
    """
    for key, label in (("serve.default", settings.default), ("serve.shadow", settings.shadow)):
        if label is not None and label not in labels and (labels or key == "serve.shadow"):
            raise ConfigError(f"{key}={label} is not served", key=key, allowed=labels)
    if settings.shadow is not None and settings.default is None:
        others = [label for label in labels if label not in (settings.shadow, settings.canary)]
        settings.default = next(iter(others), None)
        if settings.default is None:
            message = f"serve.shadow={settings.shadow} needs a model beside it that answers, and bundle= names no other"
            raise ConfigError(message, key="serve.shadow", hint=f"such as 'bundle=[main,{settings.shadow}]'")


def _journal(settings: ServeSettings) -> Journal | None:
    journal = settings.journal
    if journal.folder is None:
        return None
    return Journal(journal.folder, fraction=journal.fraction, max_bytes=int(journal.max_mb * MEGABYTE))


def _listening(settings: ServeSettings, catalogue: Catalogue, port: int) -> None:
    """Say what is served and where."""
    for model in catalogue.models.values():
        metadata = model.metadata
        device = "GPU" if model.provider == CUDA else "CPU"
        say(f"{model.label:20} version {metadata.version}, {model.precision} on the {device}")
    if not catalogue.models:
        say("no model yet: waiting for a bundle")
    who = "with a key" if settings.api_keys_file else "without a key"
    say(f"requests are taken {who}, {settings.workers or usable_cores()} batches at once")
    say(f"serving http://{_address(settings.host)}:{port}")


def _address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
