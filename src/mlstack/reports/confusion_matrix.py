"""The confusion matrix: which classes are taken for which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mlstack.reports import style
from mlstack.reports.fonts import lettering
from mlstack.reports.saving import save_png
from mlstack.reports.text_width import display_width, shorten

COUNTS_UP_TO = 20  # classes with a number in each cell
NAMES_UP_TO = 40  # classes with a name at each row; above, the most frequent confusions are listed
BLOCKS = 200  # above so many classes a cell stands for several and shows the strongest of them
LISTED = 20
NAME_WIDTH = 22  # columns of text


def draw_confusion_matrix(
    matrix: NDArray[np.int64], classes: Sequence[str], output: Path, *, title: str = "Confusion matrix"
) -> Path:
    """Draw a confusion matrix coloured by the share of each row.

    Args:
        matrix: int64 [class, class] counts; rows are the truth, columns the prediction.
        classes: Class names in the order of their labels.
        output: The PNG to write.
        title: What the figure is of.

    Returns:
        `output`.

    Raises:
        OutputError: The PNG can't be written.
    """
    letters = lettering([title, *classes])
    names = [shorten(name, NAME_WIDTH) for name in letters.names(classes)]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)  # [class, class], 0 to 1
    if len(names) <= NAMES_UP_TO:
        figure, axes = _named_figure(matrix, shares, names)
    else:
        figure, axes = _listed_figure(matrix, shares, names)
    style.dress(axes, x="predicted class", y="true class")
    for spine in axes.spines.values():
        spine.set(visible=True, color=style.GREY, linewidth=0.6)
    style.set_title(figure, letters.write(title), _describe(matrix))
    style.in_families(figure, letters.families)
    return save_png(figure, output)


def _named_figure(matrix: NDArray[np.int64], shares: NDArray[np.float64], names: Sequence[str]) -> tuple[Figure, Axes]:
    """One cell a class, its name at each row and column, and counts where they fit."""
    side = max(3.2, (0.46 if len(names) <= COUNTS_UP_TO else 0.24) * len(names))
    figure = style.new_figure(side + 2.4, side + 1.9)
    axes = figure.subplots()
    _draw_cells(figure, axes, shares)
    if all(display_width(name) * 0.09 < side / len(names) for name in names):
        axes.set_xticks(range(len(names)), labels=list(names))
    else:
        axes.set_xticks(range(len(names)), labels=list(names), rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), labels=list(names))
    axes.tick_params(length=0)
    if len(names) <= COUNTS_UP_TO:
        _write_counts(axes, matrix, shares, cell=72 * side / len(names))
    return figure, axes


def _listed_figure(matrix: NDArray[np.int64], shares: NDArray[np.float64], names: Sequence[str]) -> tuple[Figure, Axes]:
    """The whole matrix in colours with class numbers, and the most frequent confusions by name beside it."""
    figure = style.new_figure(11.5, 7)
    axes, listing = figure.subplots(1, 2, width_ratios=(1.75, 1))
    _draw_cells(figure, axes, shares)
    style.bare(listing)
    listing.set_title(
        "Most frequent confusions (true → predicted)", fontsize=style.LABEL_SIZE + 1, loc="left", color=style.INK
    )
    lines = _confusions(matrix, names)
    for row, (count, what) in enumerate(lines):
        height = 0.97 - row * 0.97 / LISTED
        listing.text(0.1, height, count, fontsize=style.TICK_SIZE, ha="right", va="center", color=style.RED)
        listing.text(0.13, height, what, fontsize=style.TICK_SIZE, va="center", color=style.INK)
    return figure, axes


def _draw_cells(figure: Figure, axes: Axes, shares: NDArray[np.float64]) -> None:
    """Cells from white (0) to dark blue (1), by the square root, so that a confusion of a few percent is seen."""
    block = math.ceil(len(shares) / BLOCKS)
    strongest = _pool(shares, block)
    end = len(strongest) * block - 0.5  # the last cell may stand for fewer classes
    cells = axes.imshow(
        strongest, cmap="Blues", norm=PowerNorm(0.5, 0, 1), extent=(-0.5, end, end, -0.5), interpolation="nearest"
    )
    axes.set_xlim(-0.5, len(shares) - 0.5)
    axes.set_ylim(len(shares) - 0.5, -0.5)
    bar = figure.colorbar(cells, ax=axes, shrink=0.8, pad=0.02, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
    bar.ax.set_yticklabels(["0", "1%", "5%", "20%", "50%", "100%"], fontsize=style.TICK_SIZE)
    bar.ax.tick_params(color=style.GREY)
    several = f" (each cell: the strongest of {block} × {block})" if block > 1 else ""
    bar.set_label(f"share of the true class{several}", fontsize=style.LABEL_SIZE, color=style.INK)
    bar.outline.set_visible(False)


def _pool(shares: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """Maximum over blocks of `block` × `block` cells: float64 [class / block, class / block], rounded up."""
    starts = np.arange(0, len(shares), block)
    rows: NDArray[np.float64] = np.maximum.reduceat(shares, starts, axis=0)
    return np.maximum.reduceat(rows, starts, axis=1)


def _write_counts(axes: Axes, matrix: NDArray[np.int64], shares: NDArray[np.float64], *, cell: float) -> None:
    """Write the counts that are not 0, in one size that fits the longest into a cell of `cell` points."""
    size = min(11.0, cell * 0.85 / (0.62 * len(f"{matrix.max():,}")))  # a digit of DejaVu Sans is 0.62 of its size wide
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if shares[row, column] > 0.25 else style.INK
            axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=size, color=colour)


def _confusions(matrix: NDArray[np.int64], names: Sequence[str]) -> list[tuple[str, str]]:
    """The `LISTED` greatest counts off the diagonal, as (`12 ×`, `cat → dog`), the true class first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:LISTED]
    pairs = [divmod(int(cell), len(names)) for cell in order]
    found = [(wrong[true, taken], names[true], names[taken]) for true, taken in pairs]
    return [(f"{count:,} ×", f"{true} → {taken}") for count, true, taken in found if count] or [("", "none")]


def _describe(matrix: NDArray[np.int64]) -> str:
    right, total = int(matrix.trace()), int(matrix.sum())
    absent = int((matrix.sum(axis=1) == 0).sum())
    without = f"; {absent:,} classes have no picture" if absent else ""
    return f"{right:,} of {total:,} pictures are right ({right / max(total, 1):.2%}){without}"
