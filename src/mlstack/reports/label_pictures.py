"""Grids of pictures with the labels that the network gives them: samples, worst mistakes, new files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.metrics import decided, picture_losses
from mlstack.reports.fonts import lettering
from mlstack.reports.picture_grid import LINE_WIDTH, SHOWN, Caption, draw_grid
from mlstack.reports.text_width import display_width, shorten

LINES = 2  # of labels that were said, and of true ones
FILE_LINES = 3  # labels of a new file


def worst_label_mistakes(
    probabilities: NDArray[np.floating], labels: NDArray[np.floating], count: int = SHOWN
) -> NDArray[np.int64]:
    """Positions of pictures with a wrong or a missing label, the greatest loss first: int64 [at most count].

    Args:
        probabilities: float [n, label].
        labels: float [n, label], 1 where the label applies, else 0.
        count: How many at most.
    """
    wrong = np.flatnonzero((decided(probabilities) != (labels > 0.5)).any(axis=1))
    losses = picture_losses(probabilities[wrong], labels[wrong])
    return wrong[np.argsort(-losses, kind="stable")[:count]].astype(np.int64)


def draw_label_predictions(
    images: NDArray[np.uint8],
    probabilities: NDArray[np.floating],
    labels: NDArray[np.floating],
    names: Sequence[str],
    output: Path,
    *,
    title: str = "Sample predictions",
) -> Path:
    """Draw pictures with the labels that were said; where any is wrong or missing, with a red frame and the truth.

    Args:
        images: uint8 [n, height, width, channel], 1 or 3 channels; the first 40 are shown.
        probabilities: float [n, label].
        labels: float [n, label], 1 where the label applies, else 0.
        names: Label names.
        output: The PNG to write.
        title: What the figure is of.

    Returns:
        `output`.

    Raises:
        OutputError: The PNG can't be written.
    """
    letters = lettering([title, *names])
    drawable = letters.names(names, kind="label")
    captions = [
        _judged(_chosen(drawable, said), _chosen(drawable, true), right=bool((said == true).all()))
        for said, true in zip(decided(probabilities), labels > 0.5, strict=True)
    ]
    note = "✓ all labels right    ✗ not all, with the true labels below"
    return draw_grid(images, captions, output, title=title, note=note, letters=letters)


def draw_file_labels(
    images: NDArray[np.uint8],
    probabilities: NDArray[np.floating],
    files: Sequence[str],
    names: Sequence[str],
    output: Path,
    *,
    title: str = "Predictions",
) -> Path:
    """Draw new pictures, whose truth nobody knows, with their labels, the surest first, and file name.

    Arguments, return value and errors as for `pictures.draw_file_predictions`.
    """
    letters = lettering([title, *files[:SHOWN], *names])
    drawable = letters.names(names, kind="label")
    captions = [
        Caption((*_with_percents(drawable, row), shorten(letters.write(file, instead=f"file {place}"), LINE_WIDTH)))
        for place, (row, file) in enumerate(zip(probabilities, files, strict=True), start=1)
    ]
    note = "labels with a probability of 50% or more"
    return draw_grid(images, captions, output, title=title, note=note, letters=letters)


def name_lines(opening: str, names: Sequence[str], *, width: int = LINE_WIDTH, limit: int = LINES) -> tuple[str, ...]:
    """`opening` and names with commas between, in at most `limit` lines; names without room are counted: +3."""
    lines = [opening]
    for place, name in enumerate(names or ["none"]):
        is_last = place >= len(names) - 1
        word = shorten(name, width - 7) + ("" if is_last else ",")
        longer = f"{lines[-1]} {word}"
        reserved = 4 if len(lines) == limit and not is_last else 0
        if display_width(longer) + reserved <= width:
            lines[-1] = longer
        elif len(lines) < limit:
            lines.append(word)
        else:
            lines[-1] += f" +{len(names) - place}"
            break
    return tuple(lines)


def _chosen(names: Sequence[str], applies: NDArray[np.bool_]) -> list[str]:
    return [name for name, yes in zip(names, applies, strict=True) if yes]


def _judged(said: Sequence[str], true: Sequence[str], *, right: bool) -> Caption:
    if right:
        return Caption(name_lines("✓", said), right)
    return Caption((*name_lines("✗", said), *name_lines("true:", true)), right)


def _with_percents(names: Sequence[str], row: NDArray[np.floating]) -> tuple[str, ...]:
    """One line a label, and how many more there are."""
    applies = np.flatnonzero(decided(row))
    surest = applies[np.argsort(-row[applies], kind="stable")]
    lines = [f"{shorten(names[index], LINE_WIDTH - 7)} ({row[index]:.0%})" for index in surest[:FILE_LINES]]
    more = len(surest) - FILE_LINES
    return (*lines, f"+{more} more") if more > 0 else tuple(lines) or ("none",)
