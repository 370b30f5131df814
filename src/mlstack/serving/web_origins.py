"""What pages of other web sites may do here: a browser runs them on machines that reach the service.

Reading an answer needs CORS headers (https://fetch.spec.whatwg.org/#http-cors-protocol), which only allowed sites get.
But a page may *send* some requests without asking first, and its owner may point the name of its site to 127.0.0.1, so
that the browser takes this service for a part of it (DNS rebinding). So requests that change something are refused
where another site's page sends them, and a service that only its own machine may ask answers to that machine's names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from mlstack.config.serving_limits import is_loopback
from mlstack.serving.messages import Head
from mlstack.serving.problems import Problem

ALLOWED_HEADERS = "authorization, content-type, x-api-key, x-request-id, x-user-id, x-variant, x-deadline-ms"
EXPOSED_HEADERS = "retry-after, x-model, x-request-id"
OWN = ("same-origin", "none")  # none: typed by the user

Headers = tuple[tuple[str, str], ...]


def check_host(head: Head) -> None:
    """Refuse a request that was sent to a name which is not this machine's; without a name it comes from no browser.

    Raises:
        Problem: 421.
    """
    host = head.headers.get("host")
    if host is not None and not _names_this_machine(host):
        detail = "this service is for its own machine: ask for http://127.0.0.1, or start it with "
        raise Problem(421, f"{detail}serve.api_keys_file=FILE or serve.allow_anonymous=true", reason="host")


def check_origin(head: Head, allowed: Sequence[str]) -> None:
    """Refuse what another web site's page sends, unless that site is allowed.

    Browsers say where a request comes from in `sec-fetch-site`, and, older ones or without TLS, in `origin` only: the
    rule of https://pkg.go.dev/net/http#CrossOriginProtection. Other clients send neither.

    Args:
        head: Of the request.
        allowed: Origins such as https://example.org.

    Raises:
        Problem: 403.
    """
    origin, site = head.headers.get("origin"), head.headers.get("sec-fetch-site")
    if origin in allowed or site in OWN:
        return
    if site is not None or (origin is not None and _host_of(origin) != head.headers.get("host", "").lower()):
        detail = "a page of another web site may not send this, unless the service is started with "
        raise Problem(403, f"{detail}serve.cors_origins=[https://that.site]", reason="origin")


def reading_headers(head: Head, allowed: Sequence[str]) -> Headers:
    """Headers of an answer that let an allowed site's page read it."""
    if not allowed:
        return ()
    origin = head.headers.get("origin")
    if origin is None or origin not in allowed:
        return (("vary", "origin"),)
    return (
        ("vary", "origin"),
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", EXPOSED_HEADERS),
    )


def asking_headers(methods: str) -> Headers:
    """Headers of the answer to a browser that asks whether a page may ask."""
    return (
        ("allow", methods),
        ("access-control-allow-methods", methods),
        ("access-control-allow-headers", ALLOWED_HEADERS),
        ("access-control-max-age", "600"),
    )


@lru_cache(maxsize=64)
def _names_this_machine(host: str) -> bool:
    """Whether a host header's name can only mean the machine that it is resolved on (RFC 6761)."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return False
    return is_loopback(name) or name.endswith(".localhost")


def _host_of(origin: str) -> str:
    """Name and port of an origin; `null`, as sandboxed pages have it, is nobody's."""
    return origin.partition("://")[2].lower() or "null"
