"""Writing a figure: whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.figure import Figure

from mlstack.errors import OutputError


def save_png(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, under a temporary name first, so that a reader never finds half of one.

    Args:
        figure: What to write.
        path: The file; missing folders are made.

    Returns:
        `path`.

    Raises:
        OutputError: The folder or the file can't be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            figure.savefig(temporary, format="png", dpi=figure.dpi)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"the figure {path} can't be written: {error.strerror or error}",
            hint="check that its folder can be written and that the disk is not full",
        ) from error
    return path
