"""Who is told of alerts: a file of JSON lines and a web address, each from a thread of its own.

The service hands an alert over and goes on. A destination that hangs or fails costs it nothing: its queue is bounded,
what doesn't fit is dropped and counted, and failures go to the log.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlstack.config.serving import AlertConfig
from mlstack.errors import ConfigError
from mlstack.monitoring.alerts import Alert

LOG = logging.getLogger("mlstack.monitoring")
MOST_WAITING = 1000
WEBHOOK_TIMEOUT_S = 5.0
WEBHOOK_TRIES = 3
FIRST_PAUSE_S = 0.5  # between two tries; twice as long each time
AGAIN_LATER = 429  # the only answer of 4xx after which another try makes sense

Deliver = Callable[[dict[str, Any], threading.Event], None]


class AlertSender:
    """Delivers alerts in the background.

    Args:
        deliver: Delivers one; may block and raise OSError. It is given an event that is set when it should give up.
        name: Of the destination, for the log.

    Attributes:
        delivered: Alerts that arrived.
        dropped: Alerts that did not: the queue was full, or the destination failed.
    """

    def __init__(self, deliver: Deliver, *, name: str) -> None:
        self._deliver, self._name = deliver, name
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(MOST_WAITING)
        self._closing = threading.Event()
        self.delivered = self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"alerts to {name}", daemon=True)
        self._thread.start()

    def send(self, alert: Alert) -> None:
        """Hand an alert over; returns at once."""
        try:
            self._queue.put_nowait(alert.as_dict())
        except queue.Full:
            self.dropped += 1

    def close(self, seconds: float = WEBHOOK_TIMEOUT_S) -> None:
        """Deliver what waits, for at most so many seconds, then end the thread. Pauses between tries are cut short."""
        self._closing.set()
        try:
            self._queue.put(None, timeout=seconds)
        except queue.Full:
            LOG.warning("%d alerts to %s are lost", self._queue.qsize(), self._name)
        else:
            self._thread.join(seconds)

    def _run(self) -> None:
        while (alert := self._queue.get()) is not None:
            try:
                self._deliver(alert, self._closing)
                self.delivered += 1
            except Exception as error:  # noqa: BLE001 (whatever a destination does, the next alert gets its chance)
                self.dropped += 1
                LOG.warning("alert %s could not be sent to %s: %s", alert["name"], self._name, error)


class AlertSenders:
    """All destinations of the settings; without any it does nothing.

    Raises:
        ConfigError: The webhook is no address of http or https.
    """

    def __init__(self, settings: AlertConfig) -> None:
        self._senders: list[AlertSender] = []
        webhook = None if settings.webhook is None else to_webhook(settings.webhook)
        if settings.file is not None:
            self._senders.append(AlertSender(to_file(Path(settings.file).expanduser()), name=settings.file))
        if settings.webhook is not None and webhook is not None:
            # The address may hold a secret, as those of chat rooms do: the log is told the host only.
            self._senders.append(AlertSender(webhook, name=str(urlsplit(settings.webhook).hostname)))

    def send(self, alert: Alert) -> None:
        for sender in self._senders:
            sender.send(alert)

    def close(self, seconds: float = WEBHOOK_TIMEOUT_S) -> None:
        for sender in self._senders:
            sender.close(seconds)


def to_file(path: Path) -> Deliver:
    """Appends a line of JSON; the folder is made where it is missing, and a moved file is begun anew."""

    def deliver(alert: dict[str, Any], closing: threading.Event) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(alert, ensure_ascii=False) + "\n")

    return deliver


def to_webhook(address: str, *, first_pause_s: float = FIRST_PAUSE_S) -> Deliver:
    """Posts JSON. Tries again after no answer, 429 and 5xx; other refusals would be the same the next time.

    Raises:
        ConfigError: The address is none of http or https.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            "serve.alerts.webhook has to begin with http:// or https:// and a host", key="serve.alerts.webhook"
        )

    def deliver(alert: dict[str, Any], closing: threading.Event) -> None:
        body, pause = json.dumps(alert).encode(), first_pause_s
        for left in reversed(range(WEBHOOK_TRIES)):
            reason, final = _post(address, body)
            if not reason:
                return
            if final or not left:
                raise OSError(reason)
            closing.wait(pause)
            pause *= 2

    return deliver


def _post(address: str, body: bytes) -> tuple[str, bool]:
    """Why it failed, empty if it didn't; and whether another try is of no use."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, build_opener

    request = Request(address, body, {"content-type": "application/json"}, method="POST")
    try:
        # Not urlopen, which goes on with the proxies that the environment named when it was first called.
        with build_opener().open(request, timeout=WEBHOOK_TIMEOUT_S) as answer:
            answer.read(1024)
            return "", True
    except HTTPError as error:
        error.close()
        return f"it answered {error.code}", error.code < 500 and error.code != AGAIN_LATER
    except (OSError, HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__, False
