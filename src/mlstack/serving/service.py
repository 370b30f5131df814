"""The application behind the HTTP server: who may ask, which handler answers, and what is said of it afterwards."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from mlstack.config.serving import ServeSettings
from mlstack.serving.handlers import Handlers
from mlstack.serving.keys import Client, KeyRing, admin_needed, key_needed
from mlstack.serving.logs import JsonLog
from mlstack.serving.messages import Head, Request, Response
from mlstack.serving.metrics import Metrics
from mlstack.serving.open_inference import v2_problem
from mlstack.serving.predicting import MODEL_HEADER
from mlstack.serving.problems import Problem, overloaded
from mlstack.serving.rate_limits import RateLimits, client_address
from mlstack.serving.routes import Route, Routes

PAUSE = 0.1  # seconds before a full queue is told to clients, which may ask again at once: they would take the CPU
SMALL = (
    2**20
)  # bytes of a body that is read before its request is refused for want of room: the connection stays usable
ALLOWED_HEADERS = "authorization, content-type, x-api-key, x-request-id, x-user-id, x-variant, x-deadline-ms"


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

    @property
    def ready(self) -> bool:
        """Whether requests are taken: a model is there, and nobody has asked the service to end."""
        return bool(self.handlers.catalogue.models) and not self.stopping

    def stop(self) -> None:
        """From now on not ready: what was accepted is answered, and balancers send new requests elsewhere."""
        self.stopping = True
        self.metrics.ready.set(0)

    def refused_early(self, status: int, reason: str) -> None:
        """Count what the HTTP server refused by itself: a broken head, a body that is too large or too slow."""
        self.metrics.rejections.labels(reason).inc()
        self.metrics.answered("", status)

    def admit(self, head: Head) -> Response | None:
        """Refuse what needs no body to be refused; see `messages.Application`."""
        try:
            if head.method == "OPTIONS":
                return self._preflight(head)
            route, _ = self._route(head)
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
        finally:
            self.in_flight -= 1
        return self._finished(head, response)

    def _route(self, head: Head) -> tuple[Route, dict[str, str]]:
        """The route of a request, and what stands at its names."""
        found = self.routes.find(head.path)
        if found is None:
            raise Problem(404, f"nothing at {head.path}: GET /docs lists what there is", reason="not_found")
        methods, names = found
        route = methods.get("GET" if head.method == "HEAD" else head.method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            detail = f"{head.path} does not take {head.method}; allowed: {allowed}"
            raise Problem(405, detail, reason="method", headers=(("allow", allowed),))
        return route, names

    def _check_client(self, head: Head, route: Route) -> None:
        """401 without a key, 403 with the wrong one, 429 when a client asks too often."""
        client: Client | None = None
        if self.keys is not None and not route.open:
            client = self.keys.check(head.headers)
            if client is None:
                raise key_needed(head.headers)
            if route.admin and not client.admin:
                raise admin_needed(client)
        if self.rates is not None and not route.open:
            wait = self.rates.take(f"key {client.name}" if client else client_address(head.peer))
            if wait > 0:
                allowed = f"{self.settings.rate_limit:g} requests a second"
                raise overloaded(f"more than {allowed}: try again in {wait:.1f} s", retry_after=wait)

    def _check_room(self, size: int) -> None:
        """429 when the queue is full; looked at before the body is worked on."""
        scheduler = self.handlers.predictor.scheduler
        if not scheduler.has_room(1, size):
            raise overloaded("the queue is full: try again later", retry_after=scheduler.retry_after())

    def _refused(self, head: Head, problem: Problem) -> Response:
        self.metrics.rejections.labels(problem.reason).inc()
        refuse = v2_problem(problem, head.id) if head.path.split("/", 2)[1] == "v2" else problem.response(head.id)
        return self._finished(head, refuse)

    def _finished(self, head: Head, response: Response) -> Response:
        """Count and log an answer; let the pages of allowed web sites read it."""
        model = next((value for name, value in response.headers if name == MODEL_HEADER), "")
        self.metrics.answered(model, response.status)
        if self.settings.access_log:
            milliseconds = round((time.perf_counter() - head.received) * 1000, 3)
            self.logs.event(
                "request", request_id=head.id, method=head.method, path=head.path, status=response.status,
                ms=milliseconds, model=model or None, peer=head.peer,
            )  # fmt: skip
        origin = head.headers.get("origin")
        if origin is not None and origin in self.settings.cors_origins:
            response.headers = (*response.headers, ("access-control-allow-origin", origin), ("vary", "origin"))
        return response

    def _preflight(self, head: Head) -> Response:
        """What a browser asks before a page of another web site may ask; closed unless that site is allowed."""
        found = self.routes.find(head.path)
        if found is None:
            raise Problem(404, f"nothing at {head.path}", reason="not_found")
        methods = ", ".join(sorted({*found[0], "OPTIONS"}))
        allowed = (
            ("allow", methods),
            ("access-control-allow-methods", methods),
            ("access-control-allow-headers", ALLOWED_HEADERS),
            ("access-control-max-age", "600"),
        )
        return self._finished(head, Response(204, headers=allowed))
