"""Trainings and evaluations that draw nothing: figures take most of the time of small ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def without_figures() -> Iterator[None]:
    """For as long as the block takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlstack.commands.conclusion.draw", lambda *_: None)
        patch.setattr("mlstack.commands.evaluate.draw_each", lambda _: [])
        yield
