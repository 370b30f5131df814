"""What is drawn or sent after the results are written: what fails there costs a line, never the command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlstack.errors import MLStackError
from mlstack.utils.console import say

# A figure by its name, and what draws it and returns its file.
Drawing = tuple[str, Callable[[], Path]]


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Say in one line that `what` (`figure x could not be drawn`) and why, where the block raises; then go on.

    Signals pass, and so does Ctrl-C.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001  whatever it is, the results that it would have shown are written
        say(f"warning: {what}: {_reason(error)}")


def draw_each(drawings: Iterable[Drawing]) -> list[Path]:
    """Draw figures one by one.

    Args:
        drawings: Names, and functions that draw and return the file written. It may raise as well.

    Returns:
        The files of those that could be drawn.
    """
    written = []
    with guarded("figures could not be prepared"):
        for name, draw in drawings:
            with guarded(f"figure {name} could not be drawn"):
                written.append(draw())
    return written


def _reason(error: Exception) -> str:
    first = next(iter(str(error).splitlines()), "")
    return first if isinstance(error, MLStackError) and first else f"{type(error).__name__}: {first}".rstrip(": ")
