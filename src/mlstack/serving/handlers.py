"""What each address answers; the pictures' own way is `predicting.py`."""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

import numpy as np
import orjson
from numpy.typing import NDArray
from PIL import Image

from mlstack import __version__
from mlstack.bundle.reference import REFERENCE, read_reference
from mlstack.config.serving import ServeSettings
from mlstack.errors import BundleError
from mlstack.monitoring.experiment import Experiment
from mlstack.serving.answers import json_response
from mlstack.serving.catalogue import Catalogue
from mlstack.serving.input_problems import quoted
from mlstack.serving.keys import KeyRing
from mlstack.serving.messages import Request, Response
from mlstack.serving.metrics import CONTENT_TYPE, Metrics, memory_bytes
from mlstack.serving.open_inference_routes import OpenInference
from mlstack.serving.openapi import describe
from mlstack.serving.pages import page_response
from mlstack.serving.predicting import Predictor
from mlstack.serving.problems import bad_request, not_found, not_ready
from mlstack.serving.routes import Route
from mlstack.serving.served_model import ServedModel
from mlstack.serving.watching import Watching

PICTURE = ("height", "width", "channels", "resize", "decoded_size")
EXAMPLE = re.compile(r"[0-9]{1,3}")


@dataclass
class Handlers:
    """The handlers and what they look at."""

    settings: ServeSettings
    catalogue: Catalogue
    predictor: Predictor
    watching: Watching
    metrics: Metrics
    experiment: Experiment | None
    is_ready: Callable[[], bool]
    keys: KeyRing | None
    started: float = field(default_factory=time.monotonic)
    _pictures: WeakKeyDictionary[ServedModel, NDArray[np.uint8]] = field(default_factory=WeakKeyDictionary)

    def routes(self) -> list[Route]:
        """Every address of the service."""
        predict = self.predictor.predict
        routes = [
            Route("POST", "/predict", predict, predicts=True),
            Route("POST", "/predict_image", predict, predicts=True),
            Route("POST", "/v1/models/{name}/predict", predict, predicts=True),
            Route("GET", "/health", self.health, open=True),
            Route("GET", "/ready", self.ready, open=True),
            Route("GET", "/metadata", self.metadata),
            Route("GET", "/models", self.models),
            Route("GET", "/metrics", self.prometheus),
            Route("GET", "/status", self.status),
            Route("GET", "/experiments", self.experiments),
            Route("GET", "/drift", self.drift),
            Route("GET", "/alerts", self.alerts),
            Route("GET", "/examples", self.examples),
            Route("GET", "/examples/{file}", self.example),
            Route("POST", "/feedback", self.feedback),
            Route("POST", "/admin/reload", self.reload, admin=True),
            Route("POST", "/admin/canary", self.canary, admin=True),
            *OpenInference(self.catalogue, self.predictor, self.is_ready).routes(),
        ]
        if self.settings.docs:
            pages = ("/", "/docs", "/favicon.ico", "/favicon.svg", "/page/{file}")
            routes += [Route("GET", path, self.page, open=True) for path in pages]
            routes.append(Route("GET", "/openapi.json", self.openapi))  # names the models and their classes
        return routes

    async def health(self, request: Request, names: dict[str, str]) -> Response:
        """Whether the process lives."""
        return json_response({"status": "ok", "version": __version__})

    async def ready(self, request: Request, names: dict[str, str]) -> Response:
        """Whether requests are taken: 503 before the first model is loaded and once the service is ending.

        Probes have no key and need only the status; the models' names are for whoever may ask the models.
        """
        if not self.is_ready():
            raise not_ready("no model is loaded, or the service is ending")
        if self.keys is not None and self.keys.check(request.head.headers) is None:
            return json_response({"status": "ready"})
        return json_response({"status": "ready", "models": sorted(self.catalogue.models)})

    async def metadata(self, request: Request, names: dict[str, str]) -> Response:
        """What is served by default."""
        return json_response(_facts(self.catalogue.get(self.settings.default)))

    async def models(self, request: Request, names: dict[str, str]) -> Response:
        """Every model."""
        return json_response({"models": [_facts(model) for model in self.catalogue.models.values()]})

    async def prometheus(self, request: Request, names: dict[str, str]) -> Response:
        """What Prometheus reads."""
        return Response(body=self.metrics.text(), content_type=CONTENT_TYPE)

    async def status(self, request: Request, names: dict[str, str]) -> Response:
        """What the page at / shows."""
        models = [
            {**_facts(model), "requests": watched.requests, "images": watched.images}
            for label, model in self.catalogue.models.items()
            if (watched := self.watching.models.get(label)) is not None
        ]
        scheduler = self.predictor.scheduler
        queue = {"in_flight": scheduler.running_images, "waiting_images": scheduler.waiting_images}
        return json_response(
            {
                "models": models,
                "default": self.catalogue.get(self.settings.default).label if models else None,
                "traffic": {**self.watching.traffic.summary(), **queue},
                "memory_mb": round(memory_bytes() / 1e6, 1),
                "uptime_s": round(time.monotonic() - self.started, 1),
                "drift": {label: report for label, report in self._drift().items() if report is not None},
                "alerts": [alert.as_dict() for alert in self.watching.alerts.active.values()],
                "experiment": self.experiment.status() if self.experiment else None,
            }
        )

    async def experiments(self, request: Request, names: dict[str, str]) -> Response:
        """The experiment, if there is one, and the shadow's agreement."""
        mirror = self.predictor.mirror
        shadow = mirror.comparison if mirror else None
        return json_response(
            {
                "experiment": self.experiment.status() if self.experiment else None,
                "shadow": shadow.status() if shadow else None,
            }
        )

    async def drift(self, request: Request, names: dict[str, str]) -> Response:
        """The newest comparison of each model; null = not enough answers yet."""
        return json_response({"models": self._drift()})

    async def alerts(self, request: Request, names: dict[str, str]) -> Response:
        """The alerts that are raised."""
        return json_response({"alerts": [alert.as_dict() for alert in self.watching.alerts.active.values()]})

    async def examples(self, request: Request, names: dict[str, str]) -> Response:
        """Pictures to try: the bundle's golden ones."""
        pictures = await self._golden()
        rows = [{"url": f"/examples/{place}.png", "label": f"{place + 1}"} for place in range(len(pictures))]
        return json_response({"examples": rows})

    async def example(self, request: Request, names: dict[str, str]) -> Response:
        """One of them as PNG."""
        number, _, suffix = names["file"].partition(".")
        pictures = await self._golden()
        if suffix != "png" or not EXAMPLE.fullmatch(number) or int(number) >= len(pictures):
            raise not_found(f"no example {quoted(names['file'])}: GET /examples lists them")
        return Response(body=await asyncio.to_thread(_png, pictures[int(number)]), content_type="image/png")

    async def feedback(self, request: Request, names: dict[str, str]) -> Response:
        """True labels of an answer that was given."""
        body = _object(request.body)
        request_id = body.get("request_id")
        if not isinstance(request_id, str):
            raise bad_request('send {"request_id": "…", "label": "cat"}, or "labels": [...] for several pictures')
        labels = body.get("labels", [body["label"]] if "label" in body else None)
        if not isinstance(labels, list):
            raise bad_request('send "label": a class, or "labels": a list with one for each picture')
        return json_response(self.watching.feedback(request_id, labels))

    async def reload(self, request: Request, names: dict[str, str]) -> Response:
        """Look for new bundles now."""
        return json_response({"models": await self.catalogue.reload()})

    async def canary(self, request: Request, names: dict[str, str]) -> Response:
        """Promote the canary, roll it back, or set its share by hand."""
        if self.experiment is None or self.experiment.canary is None:
            raise not_found("there is no canary: start the service with serve.canary=MODEL")
        body = _object(request.body)
        action, percent = body.get("action"), body.get("percent")
        if action == "promote":
            decision = self.experiment.promote()
        elif action == "rollback":
            decision = self.experiment.rollback("by hand")
        elif action == "share" and _is_percent(percent):
            decision = self.experiment.set_share(float(percent))
        else:
            raise bad_request(
                'send {"action": "promote"}, {"action": "rollback"} or {"action": "share", "percent": 0 to 100}'
            )
        self.watching.decided([decision])
        return json_response(decision.as_dict())

    async def openapi(self, request: Request, names: dict[str, str]) -> Response:
        """The description of this very service."""
        return json_response(describe(self.catalogue.models, keys=self.settings.api_keys_file is not None))

    async def page(self, request: Request, names: dict[str, str]) -> Response:
        """A file of the page at /, or of /docs."""
        page = page_response(request.head.path, request.head.headers)
        if page is None:
            raise not_found(f"nothing at {request.head.path}")
        return page

    def _drift(self) -> dict[str, Any]:
        return {
            label: watched.drift.report.as_dict() if watched.drift and watched.drift.report else None
            for label, watched in self.watching.models.items()
        }

    async def _golden(self) -> NDArray[np.uint8]:
        """The default model's golden pictures, uint8 [n, height, width, channel]: read when first asked for."""
        model = self.catalogue.get(self.settings.default)
        if model not in self._pictures:
            try:
                reference = await asyncio.to_thread(read_reference, model.bundle.path / REFERENCE, model.metadata)
            except BundleError:  # its folder has been taken away or replaced since it was loaded
                raise not_found(f"the pictures of {model.label} are not there any more") from None
            self._pictures[model] = reference.golden_images
        return self._pictures[model]


def _is_percent(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 100


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def _facts(model: ServedModel) -> dict[str, Any]:
    """What is said of a model."""
    metadata, picture = model.metadata, model.picture
    return {
        "name": model.label,
        "model": metadata.name,
        "version": metadata.version,
        "created_at": metadata.created_at,
        "task": metadata.task,
        "precision": model.precision,
        "provider": model.provider,
        "input": {name: getattr(picture, name) for name in PICTURE},
        "classes": list(model.names),
        "features": metadata.features,
    }


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise bad_request("the body has to be a JSON object")
    return value
