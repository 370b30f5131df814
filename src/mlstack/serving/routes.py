"""Which handler answers which address."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mlstack.serving.messages import Request, Response

Handler = Callable[[Request, dict[str, str]], Awaitable[Response]]
PART = r"[^/]+"


@dataclass(frozen=True)
class Route:
    """An address.

    Attributes:
        method: GET or POST.
        pattern: The path; `{name}` stands for one part of it.
        handler: Gets the request and what stands at the names.
        open: Everybody may ask, also where keys are needed.
        admin: Only a key of an administrator may.
        predicts: Takes pictures: bounded by the queue.
    """

    method: str
    pattern: str
    handler: Handler
    open: bool = False
    admin: bool = False
    predicts: bool = False


class Routes:
    """Finds the route of a request; those without names by one look into a dictionary."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._plain: dict[str, dict[str, Route]] = {}
        self._named: list[tuple[re.Pattern[str], dict[str, Route]]] = []
        patterns: dict[str, dict[str, Route]] = {}
        for route in routes:
            table = self._plain if "{" not in route.pattern else patterns
            table.setdefault(route.pattern, {})[route.method] = route
        for pattern, methods in patterns.items():
            expression = re.sub(r"\\\{(\w+)\\\}", rf"(?P<\1>{PART})", re.escape(pattern))
            self._named.append((re.compile(expression), methods))

    def find(self, path: str) -> tuple[dict[str, Route], dict[str, str]] | None:
        """The routes at a path by their methods, and what stands at its names; None = there is no such path."""
        if (methods := self._plain.get(path)) is not None:
            return methods, {}
        for expression, methods in self._named:
            if (match := expression.fullmatch(path)) is not None:
                return methods, match.groupdict()
        return None
