"""A grid of pictures with a caption below each."""

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
from mlstack.reports.fonts import Lettering
from mlstack.reports.saving import save_png

SHOWN = 40  # pictures at most
COLUMNS = 8
CELL_WIDTH, CELL_HEIGHT = 1.45, 1.85  # inches, with a caption of two lines
LINE_HEIGHT = 0.14  # inches
LINE_WIDTH = 21  # columns of text in a caption


@dataclass(frozen=True)
class Caption:
    """What stands below a picture.

    Attributes:
        lines: Short texts, of at most `LINE_WIDTH` columns.
        right: Whether the prediction is right; None where nobody knows, or where it is a matter of degree.
    """

    lines: tuple[str, ...]
    right: bool | None = None


def draw_grid(
    images: NDArray[np.uint8], captions: Sequence[Caption], output: Path, *, title: str, note: str, letters: Lettering
) -> Path:
    """Draw the first 40 pictures; none at all makes a figure that says so.

    Args:
        images: uint8 [n, height, width, channel], 1 or 3 channels.
        captions: One a picture.
        output: The PNG to write.
        title: What the figure is of.
        note: How to read the captions.
        letters: How to write `title`; the captions are written already.

    Returns:
        `output`.

    Raises:
        OutputError: The PNG can't be written.
    """
    total, shown = len(images), min(len(images), SHOWN)
    columns = min(COLUMNS, max(math.ceil(math.sqrt(shown * 1.6)), 4))  # wider than high
    rows = max(math.ceil(shown / columns), 1)
    lines = max((len(caption.lines) for caption in captions[:shown]), default=2)
    height = CELL_HEIGHT + LINE_HEIGHT * max(lines - 2, 0)
    figure = style.new_figure(columns * CELL_WIDTH + 0.3, rows * height + 0.8)
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
