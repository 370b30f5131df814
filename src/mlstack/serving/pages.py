"""The page at /, the documentation at /docs, and the files that they load: read once, kept in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlstack.serving.messages import Response

FOLDER = Path(__file__).parent / "page"
CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
ADDRESSES = {"/": "index.html", "/docs": "docs.html", "/favicon.ico": "favicon.svg", "/favicon.svg": "favicon.svg"}

# Nothing from elsewhere, nothing inline; blob: and data: are the pictures that somebody chose.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


@dataclass(frozen=True)
class PageFile:
    """A file as it is sent, and its entity tag."""

    body: bytes
    content_type: str
    etag: str


def read_pages(folder: Path = FOLDER) -> dict[str, PageFile]:
    """Every file of the pages by the address under which it is served: `/`, `/docs`, `/page/page.css`, …"""
    by_name = {path.name: _read(path) for path in sorted(folder.iterdir()) if path.suffix in CONTENT_TYPES}
    return {f"/page/{name}": file for name, file in by_name.items()} | {
        address: by_name[name] for address, name in ADDRESSES.items()
    }


def page_response(path: str, headers: Mapping[str, str]) -> Response | None:
    """A page, or a file of one; None = there is nothing at this address.

    Browsers keep the files and ask each time whether they are still the same (304): a new version of the service
    never meets scripts of the old one.

    Args:
        path: Of the request.
        headers: Of the request; `if-none-match` is looked at.
    """
    file = PAGES.get(path)
    if file is None:
        return None
    common = (("etag", file.etag), ("cache-control", "no-cache"), ("content-security-policy", CONTENT_SECURITY_POLICY))
    known = {tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")}
    if file.etag in known or "*" in known:
        return Response(304, b"", file.content_type, common)
    return Response(200, file.body, file.content_type, common)


def _read(path: Path) -> PageFile:
    body = path.read_bytes()
    return PageFile(body, CONTENT_TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:16]}"')


PAGES = read_pages()
