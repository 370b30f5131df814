"""How wide a text is in a terminal or a figure: Chinese, Japanese and Korean characters take two columns."""

from __future__ import annotations

import unicodedata


def display_width(text: str) -> int:
    """Columns that `text` takes: two for a wide character, none for a combining mark."""
    return sum(_columns(character) for character in text)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` with spaces up to `width` columns; `right` aligns it to the right."""
    spaces = " " * (width - display_width(text))
    return spaces + text if right else text + spaces


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` columns; the middle gives way to …, since ends tell long names apart."""
    if display_width(text) <= width:
        return text
    tail_width = (width - 1) // 2
    return f"{_fit(text, width - 1 - tail_width)}…{_fit(text[::-1], tail_width)[::-1]}"


def _fit(text: str, width: int) -> str:
    """The longest beginning of `text` that takes at most `width` columns."""
    used = 0
    for index, character in enumerate(text):
        used += _columns(character)
        if used > width:
            return text[:index]
    return text


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
