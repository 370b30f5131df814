"""Grids of pictures with what the network makes of them: samples, worst mistakes, new files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mlstack.reports import style
from mlstack.reports.fonts import Lettering, lettering
from mlstack.reports.saving import save_png
from mlstack.reports.text_width import shorten

SHOWN = 40  # pictures at most
COLUMNS = 8
CELL_WIDTH, CELL_HEIGHT = 1.45, 1.85  # inches, caption included
LINE_WIDTH = 21  # columns of text in a caption


@dataclass(frozen=True)
class Caption:
    """What stands below a picture.

    Attributes:
        lines: One to three short texts.
        right: Whether the prediction is right; None where the truth is not known.
    """

    lines: tuple[str, ...]
    right: bool | None = None


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
    return _draw_grid(images, captions, output, title=title, note=note, letters=letters)


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
    return _draw_grid(images, captions, output, title=title, note="percent: confidence", letters=letters)


def _judged(predicted: str, true: str, confidence: float, *, right: bool) -> Caption:
    first = f"{'✓' if right else '✗'} {_with_percent(predicted, confidence, LINE_WIDTH - 2)}"
    return Caption((first,) if right else (first, f"true: {shorten(true, LINE_WIDTH - 6)}"), right)


def _with_percent(name: str, confidence: float, width: int = LINE_WIDTH) -> str:
    return f"{shorten(name, width - 7)} ({confidence:.0%})"


def _draw_grid(
    images: NDArray[np.uint8], captions: Sequence[Caption], output: Path, *, title: str, note: str, letters: Lettering
) -> Path:
    total, shown = len(images), min(len(images), SHOWN)
    columns = min(COLUMNS, max(math.ceil(math.sqrt(shown * 1.6)), 4))  # wider than high
    rows = max(math.ceil(shown / columns), 1)
    figure = style.new_figure(columns * CELL_WIDTH + 0.3, rows * CELL_HEIGHT + 0.8)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        style.bare(axes)
    for axes, image, caption in zip(grid, images[:shown], captions, strict=False):
        _draw_picture(axes, image, caption)
    if not shown:
        _say(figure, "There is no picture to show.")
    more = f"the first {shown} of {total:,}    " if shown < total else ""
    style.set_title(figure, letters.write(title), more + note)
    style.in_families(figure, letters.families)
    return save_png(figure, output)


def _draw_picture(axes: Axes, image: NDArray[np.uint8], caption: Caption) -> None:
    """One picture (uint8 [height, width, channel]) with its caption below."""
    height, width, channels = image.shape
    smooth = "nearest" if max(height, width) <= 64 else "antialiased"  # pixels of small pictures stay visible
    picture = image[:, :, 0] if channels == 1 else image
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation=smooth)
    colour = {True: style.GREEN, False: style.RED, None: style.INK}[caption.right]
    axes.set_xlabel("\n".join(caption.lines), fontsize=style.NOTE_SIZE, color=colour, linespacing=1.3)
    if caption.right is not None:
        for spine in axes.spines.values():
            spine.set(visible=True, color=colour, linewidth=1 if caption.right else 2.5)


def _say(figure: Figure, words: str) -> None:
    figure.text(0.5, 0.5, words, ha="center", va="center", fontsize=style.LABEL_SIZE, color=style.GREY)
