"""The application behind the HTTP server: who may ask, which handler answers, and what is said of it afterwards."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from http import HTTPStatus

from mlstack.config.serving import ServeSettings
from mlstack.serving.handlers import Handlers
from mlstack.serving.input_problems import quoted
from mlstack.serving.keys import Client, KeyRing, admin_needed, key_needed
from mlstack.serving.logs import JsonLog
from mlstack.serving.messages import Head, Request, Response
from mlstack.serving.metrics import Metrics
from mlstack.serving.open_inference import v2_problem
from mlstack.serving.predicting import MODEL_HEADER
from mlstack.serving.problems import Problem, not_found, overloaded, rate_limited
from mlstack.serving.rate_limits import RateLimits, client_address
from mlstack.serving.routes import Route, Routes
from mlstack.serving.web_origins import asking_headers, check_host, check_origin, reading_headers

PAUSE = 0.4  # seconds before a full queue is told to clients, which may ask again at once: they would take the CPU
# Asked every few seconds by probes, Prometheus and the page at /: their lines would hide the others.
PROBES = frozenset({"/health", "/ready", "/metrics", "/status", "/v2/health/live", "/v2/health/ready"})
# Bytes of a body that is read before its request is refused for want of room: the connection stays usable.
SMALL = 2**20


@dataclass
class Service:
    """Implements `messages.Application`."""

    settings: ServeSettings
    handlers: Handlers
    metrics: Metrics
    logs: JsonLog
    keys: KeyRing | None
    rates: RateLimits | None
    in_flight: int = 0
    stopping: bool = False
    routes: Routes = field(init=False)

    def __post_init__(self) -> None:
        self.routes = Routes(self.handlers.routes())
        self.metrics.ready.set_function(lambda: self.ready)
        # Without keys and not meant for everybody, it listens on loopback only: see `check_serving`.
        self._own_machine_only = self.keys is None and not self.settings.allow_anonymous

    @property
    def ready(self) -> bool:
        """Whether requests are taken: a model is there, and nobody has asked the service to end."""
        return bool(self.handlers.catalogue.models) and not self.stopping

    def stop(self) -> None:
        """From now on not ready: what was accepted is answered, and balancers send new requests elsewhere."""
        self.stopping = True

    def refused_early(self, status: int, reason: str) -> None:
        """Count what the HTTP server refused by itself: a broken head, a body that is too large or too slow."""
        self.metrics.rejections.labels(reason).inc()
        self.metrics.answered("", status)

    def admit(self, head: Head) -> Response | None:
        """Refuse what needs no body to be refused; see `messages.Application`."""
        try:
            if self._own_machine_only:
                check_host(head)
            if head.method == "OPTIONS":
                return self._preflight(head)
            route, _ = self._route(head)
            if route.method == "POST" and not route.predicts:
                check_origin(head, self.settings.cors_origins)
            self._check_client(head, route)
            length = head.headers.get("content-length", "")
            if route.predicts and length.isdigit() and int(length) > SMALL:
                self._check_room(int(length))
        except Problem as problem:
            return self._refused(head, problem)
        return None

    async def answer(self, request: Request) -> Response:
        """Answer a request that was admitted; see `messages.Application`."""
        head = request.head
        self.in_flight += 1
        try:
            route, names = self._route(head)
            if route.predicts:
                self._check_room(len(request.body))
            response = await route.handler(request, names)
        except Problem as problem:
            if problem.reason == "overloaded":
                await asyncio.sleep(PAUSE)
            return self._refused(head, problem)
        except Exception:  # a bug: the HTTP server logs it and answers 500
            self.metrics.rejections.labels("failed").inc()
            self.metrics.answered("", 500)
            raise
        finally:
            self.in_flight -= 1
        return self._finished(head, response)

    def refusal(self, head: Head, problem: Problem) -> Response:
        """How the HTTP server tells a refusal of its own, counted elsewhere; see `messages.Application`."""
        response = _told(head, problem)
        response.headers += reading_headers(head, self.settings.cors_origins)
        return response

    def _route(self, head: Head) -> tuple[Route, dict[str, str]]:
        """The route of a request, and what stands at its names."""
        found = self.routes.find(head.path)
        if found is None:
            raise not_found(f"nothing at {quoted(head.path)}: GET /docs lists what there is")
        methods, names = found
        route = methods.get("GET" if head.method == "HEAD" else head.method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            detail = f"{quoted(head.path)} does not take {head.method}; allowed: {allowed}"
            raise Problem(405, detail, reason="method", headers=(("allow", allowed),))
        return route, names

    def _check_client(self, head: Head, route: Route) -> None:
        """401 without a key, 403 with the wrong one, 429 when a client, or an address without a key, asks too often."""
        if route.open:
            return
        client: Client | None = self.keys.check(head.headers) if self.keys is not None else None
        if self.rates is not None and (route.method == "POST" or (self.keys is not None and client is None)):
            wait = self.rates.take(f"key {client.name}" if client else client_address(head.peer))
            if wait > 0:
                allowed = f"{self.settings.rate_limit:g} requests a second"
                raise rate_limited(f"more than {allowed}: try again in {wait:.1f} s", retry_after=wait)
        if self.keys is not None and client is None:
            raise key_needed(head.headers)
        if route.admin and not (client.admin if client else self._own_machine_only):
            raise admin_needed(client)

    def _check_room(self, size: int) -> None:
        """429 when the queue is full; looked at before the body is worked on."""
        scheduler = self.handlers.predictor.scheduler
        if not scheduler.has_room(1, size):
            raise overloaded("the queue is full: try again later", retry_after=scheduler.retry_after())

    def _refused(self, head: Head, problem: Problem) -> Response:
        self.metrics.rejections.labels(problem.reason).inc()
        return self._finished(head, _told(head, problem))

    def _finished(self, head: Head, response: Response) -> Response:
        """Count and log an answer; let the pages of allowed web sites read it."""
        model = next((value for name, value in response.headers if name == MODEL_HEADER), "")
        self.metrics.answered(model, response.status)
        if self.settings.access_log and not (response.status == HTTPStatus.OK and head.path in PROBES):
            milliseconds = round((time.perf_counter() - head.received) * 1000, 3)
            self.logs.event(
                "request", request_id=head.id, method=head.method, path=head.path, status=response.status,
                ms=milliseconds, model=model or None, peer=head.peer,
            )  # fmt: skip
        response.headers += reading_headers(head, self.settings.cors_origins)
        return response

    def _preflight(self, head: Head) -> Response:
        """What a browser asks before a page of another web site may ask; closed unless that site is allowed."""
        found = self.routes.find(head.path)
        if found is None:
            raise not_found(f"nothing at {quoted(head.path)}")
        methods = ", ".join(sorted({*found[0], "OPTIONS"}))
        return self._finished(head, Response(204, headers=asking_headers(methods)))


def _told(head: Head, problem: Problem) -> Response:
    """A refusal; at an address of the Open Inference Protocol with `error`, which its clients look for."""
    speaks_v2 = head.path == "/v2" or head.path.startswith("/v2/")
    return v2_problem(problem, head.id) if speaks_v2 else problem.response(head.id)
