"""Markdown from plain values, so that no class name can break a table or become a link."""

from __future__ import annotations

import re
from collections.abc import Sequence

MEANT_BY_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#&~$])")


def plain(text: str) -> str:
    """A text that Markdown shows as it is, in one line."""
    return MEANT_BY_MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def code(text: str, language: str = "") -> str:
    """A fenced block."""
    return f"```{language}\n{text}\n```"


def bullets(*items: str) -> str:
    """A list."""
    return "\n".join(f"- {item}" for item in items)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, the first column to the left and the others to the right; cells are Markdown."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *rows))


def share(value: float) -> str:
    """0.98321 → `98.32 %`, and 100 only for what is whole: 0.99999 → `99.999 %`."""
    digits = 2
    while value < 1 and digits < 8 and round(100 * value, digits) >= 100:
        digits += 1
    return f"{100 * value:.{digits}f} %"


def size(count: int) -> str:
    """Bytes as people write them: 44,712,345 → `44.7 MB`."""
    if count < 1000:
        return f"{count} bytes"
    if count < 999_500:
        return f"{count / 1000:.3g} kB"
    return f"{count / 1e6:.3g} MB" if count < 99_950_000 else f"{count / 1e6:,.0f} MB"
