"""Grids of pictures with the class that the network takes them for: samples, worst mistakes, new files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.reports.fonts import lettering
from mlstack.reports.picture_grid import LINE_WIDTH, SHOWN, Caption, draw_grid
from mlstack.reports.text_width import shorten


def worst_mistakes(
    probabilities: NDArray[np.floating], labels: NDArray[np.int64], count: int = SHOWN
) -> NDArray[np.int64]:
    """Positions of the wrong predictions, the most confident first: int64 [at most count].

    Args:
        probabilities: float [n, class].
        labels: int64 [n].
        count: How many at most.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    confidence = probabilities[wrong].max(axis=1, initial=0.0)
    return wrong[np.argsort(-confidence, kind="stable")[:count]].astype(np.int64)


def draw_predictions(
    images: NDArray[np.uint8],
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    output: Path,
    *,
    title: str = "Sample predictions",
) -> Path:
    """Draw pictures with prediction, confidence and truth; a wrong one has a red frame and a ✗.

    Args:
        images: uint8 [n, height, width, channel], 1 or 3 channels; the first 40 are shown. None at
            all makes a figure that says so.
        probabilities: float [n, class].
        labels: int64 [n], the truth.
        classes: Class names in the order of their labels.
        output: The PNG to write.
        title: What the figure is of.

    Returns:
        `output`.

    Raises:
        OutputError: The PNG can't be written.
    """
    letters = lettering([title, *classes])
    names = letters.names(classes)
    captions = [
        _judged(names[likeliest], names[label], float(row[likeliest]), right=bool(likeliest == label))
        for row, likeliest, label in zip(probabilities, probabilities.argmax(axis=1), labels, strict=True)
    ]
    note = "✓ right    ✗ wrong, with the true class below    percent: the network's confidence"
    return draw_grid(images, captions, output, title=title, note=note, letters=letters)


def draw_file_predictions(
    images: NDArray[np.uint8],
    probabilities: NDArray[np.floating],
    files: Sequence[str],
    classes: Sequence[str],
    output: Path,
    *,
    title: str = "Predictions",
) -> Path:
    """Draw new pictures, whose truth nobody knows, with class, confidence and file name.

    Args:
        images: uint8 [n, height, width, channel], 1 or 3 channels; the first 40 are shown.
        probabilities: float [n, class].
        files: File names [n].
        classes: Class names in the order of their labels.
        output: The PNG to write.
        title: What the figure is of.

    Returns:
        `output`.

    Raises:
        OutputError: The PNG can't be written.
    """
    letters = lettering([title, *files[:SHOWN], *classes])
    names = letters.names(classes)
    captions = [
        Caption(
            (
                _with_percent(names[likeliest], float(row[likeliest])),
                shorten(letters.write(file, instead=f"file {place}"), LINE_WIDTH),
            )
        )
        for place, (row, likeliest, file) in enumerate(
            zip(probabilities, probabilities.argmax(axis=1), files, strict=True), start=1
        )
    ]
    return draw_grid(images, captions, output, title=title, note="percent: confidence", letters=letters)


def _judged(predicted: str, true: str, confidence: float, *, right: bool) -> Caption:
    first = f"{'✓' if right else '✗'} {_with_percent(predicted, confidence, LINE_WIDTH - 2)}"
    return Caption((first,) if right else (first, f"true: {shorten(true, LINE_WIDTH - 6)}"), right)


def _with_percent(name: str, confidence: float, width: int = LINE_WIDTH) -> str:
    return f"{shorten(name, width - 7)} ({confidence:.0%})"
