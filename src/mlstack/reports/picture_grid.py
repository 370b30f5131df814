"""A grid of pictures with a caption below each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from mlstack.reports import style
from mlstack.reports.fonts import Lettering
from mlstack.reports.saving import save_png

SHOWN = 40  # pictures at most
COLUMNS = 8
# In inches: a cell with a caption of two lines, in it the longer side of the picture; a further line; around the cells.
CELL_WIDTH, CELL_HEIGHT, PICTURE = 1.45, 1.85, 1.32
LINE_HEIGHT = 0.14
HEAD, FOOT, MARGIN = 0.5, 0.3, 0.15
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
    figure, axes = _canvas(columns * CELL_WIDTH + 2 * MARGIN, rows * height + HEAD + FOOT)
    for place, (image, caption) in enumerate(zip(images[:shown], captions, strict=False)):
        row, column = divmod(place, columns)
        _draw_picture(axes, image, caption, left=MARGIN + column * CELL_WIDTH, top=HEAD + row * height)
    if not shown:
        _say(figure, "There is no picture to show.")
    axes.set(xlim=(0, figure.get_figwidth()), ylim=(figure.get_figheight(), 0), aspect="auto")  # imshow has set others
    more = f"the first {shown} of {total:,}    " if shown < total else ""
    style.set_title(figure, letters.write(title), more + note)
    style.in_families(figure, letters.families)
    return save_png(figure, output)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure that is one drawing area in inches, from its upper left corner.

    Axes for each picture would take five times as long: 40 of them are laid out, ticked and framed.
    """
    figure = style.new_figure(width, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return figure, axes


def _draw_picture(axes: Axes, image: NDArray[np.uint8], caption: Caption, *, left: float, top: float) -> None:
    """One picture (uint8 [height, width, channel]) with its caption below, in the cell at these inches."""
    height, width, channels = image.shape
    scale = PICTURE / max(height, width)
    x, y = left + (CELL_WIDTH - width * scale) / 2, top + PICTURE - height * scale  # captions stand on one line
    smooth = "nearest" if max(height, width) <= 64 else "antialiased"  # pixels of small pictures stay visible
    picture = image[:, :, 0] if channels == 1 else image
    extent = (x, x + width * scale, top + PICTURE, y)
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation=smooth, extent=extent)
    colour = {True: style.GREEN, False: style.RED, None: style.INK}[caption.right]
    axes.text(left + CELL_WIDTH / 2, top + PICTURE + 0.06, "\n".join(caption.lines), fontsize=style.NOTE_SIZE,
              color=colour, linespacing=1.3, ha="center", va="top")  # fmt: skip
    if caption.right is not None:
        thick = 1 if caption.right else 2.5
        axes.add_patch(Rectangle((x, y), width * scale, height * scale, fill=False, color=colour, linewidth=thick))


def _say(figure: Figure, words: str) -> None:
    figure.text(0.5, 0.5, words, ha="center", va="center", fontsize=style.LABEL_SIZE, color=style.GREY)
