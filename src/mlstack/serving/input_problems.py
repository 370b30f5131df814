"""What the readers of bodies say alike."""

from __future__ import annotations

from mlstack.serving.problems import Problem, too_large

LONGEST = 40  # characters of a client's own text in a message


def too_many(images: int, limit: int) -> Problem:
    """The 413 of a request with more images than are allowed."""
    return too_large(f"{images} images in one request, at most {limit} are taken: send them in several requests")


def quoted(text: str) -> str:
    """A client's own text for a message: in quotes, cut, on one line."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[:LONGEST])
    return f'"{shown}{"…" if len(text) > LONGEST else ""}"'
