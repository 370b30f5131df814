"""Grids of pictures with the numbers that the network reads off them: samples, greatest misses, new files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.reports.fonts import lettering
from mlstack.reports.numbers import short_number
from mlstack.reports.picture_grid import LINE_WIDTH, SHOWN, Caption, draw_grid
from mlstack.reports.text_width import display_width, shorten

TARGETS = 4  # a caption


def worst_misses(values: NDArray[np.floating], targets: NDArray[np.floating], count: int = SHOWN) -> NDArray[np.int64]:
    """Positions of the pictures that are furthest off, the worst first: int64 [at most count].

    Of several targets the mean is taken, each miss divided by the target's standard deviation over these pictures.

    Args:
        values: float [n, target], the predictions; NaN counts as furthest off.
        targets: float [n, target], the truth.
        count: How many at most.
    """
    spread = targets.std(axis=0, dtype=np.float64)
    misses = np.abs(values.astype(np.float64) - targets) / np.where(spread > 0, spread, 1.0)
    order = np.argsort(-np.nan_to_num(misses.mean(axis=1), nan=np.inf), kind="stable")
    return order[:count].astype(np.int64)


def draw_value_predictions(
    images: NDArray[np.uint8],
    values: NDArray[np.floating],
    targets: NDArray[np.floating],
    names: Sequence[str],
    output: Path,
    *,
    title: str = "Sample predictions",
) -> Path:
    """Draw pictures with prediction and truth of each target, at most four of them.

    Args:
        images: uint8 [n, height, width, channel], 1 or 3 channels; the first 40 are shown.
        values: float [n, target], the predictions.
        targets: float [n, target], the truth.
        names: Target names.
        output: The PNG to write.
        title: What the figure is of.

    Returns:
        `output`.

    Raises:
        OutputError: The PNG can't be written.
    """
    letters = lettering([title, *names])
    drawable = letters.names(names, kind="target")
    captions = [
        Caption(_lines(drawable, [f"{short_number(said)} ({short_number(true)})" for said, true in pairs]))
        for pairs in (zip(row, truth, strict=True) for row, truth in zip(values, targets, strict=True))
    ]
    note = f"{_described(drawable)}predicted (true)"
    return draw_grid(images, captions, output, title=title, note=note, letters=letters)


def draw_file_values(
    images: NDArray[np.uint8],
    values: NDArray[np.floating],
    files: Sequence[str],
    names: Sequence[str],
    output: Path,
    *,
    title: str = "Predictions",
) -> Path:
    """Draw new pictures, whose truth nobody knows, with the predicted numbers and file name.

    Arguments, return value and errors as for `pictures.draw_file_predictions`, with float [n, target] values.
    """
    letters = lettering([title, *files[:SHOWN], *names])
    drawable = letters.names(names, kind="target")
    captions = [
        Caption(
            (
                *_lines(drawable, [short_number(value) for value in row]),
                shorten(letters.write(file, instead=f"file {place}"), LINE_WIDTH),
            )
        )
        for place, (row, file) in enumerate(zip(values, files, strict=True), start=1)
    ]
    return draw_grid(images, captions, output, title=title, note=f"{_described(drawable)}predicted", letters=letters)


def _lines(names: Sequence[str], numbers: Sequence[str]) -> tuple[str, ...]:
    """One line a target; a single target goes without its name, which the note below the figure gives."""
    if len(names) == 1:
        return tuple(numbers)
    lines = [
        f"{shorten(name, max(LINE_WIDTH - display_width(number) - 1, 4))} {number}"
        for name, number in zip(names, numbers, strict=True)
    ]
    more = len(lines) - TARGETS
    return tuple(lines) if more <= 0 else (*lines[:TARGETS], f"+{more} more")


def _described(names: Sequence[str]) -> str:
    """What the captions leave out, for the note below the figure."""
    if len(names) == 1:
        return f"{shorten(names[0], 3 * LINE_WIDTH)}: "
    return f"the first {TARGETS} of {len(names)} targets: " if len(names) > TARGETS else ""
