"""The two validation stages in one figure: a bar a measurement, containers relative to the virtual environment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from mlstack.reports import style
from mlstack.reports.fonts import lettering
from mlstack.reports.saving import save_png
from mlstack.validation.comparison import Row
from mlstack.validation.report import show

EQUAL = 0.05  # a ratio this near to 1 is neither better nor worse


def draw_stages(rows: Sequence[Row], output: Path, *, title: str, note: str) -> Path:
    """Draw the ratios of the measurements that both stages have made.

    Args:
        rows: Measurements.
        output: The PNG to write.
        title: What was compared.
        note: The verdict in a line.

    Returns:
        `output`.

    Raises:
        OutputError: The PNG can't be written.
    """
    drawn = [(row, row.ratio) for row in reversed(rows) if row.ratio is not None and row.ratio > 0]
    letters = lettering([title, note, *(row.figure.words for row, _ in drawn)])
    figure = style.new_figure(9, 1.6 + 0.42 * max(len(drawn), 1))
    axes = figure.subplots()
    ends = [math.log2(ratio) for _, ratio in drawn]
    for place, ((row, ratio), end) in enumerate(zip(drawn, ends, strict=True)):
        axes.barh(place, end, height=0.6, color=colour(row, ratio))
        _label(axes, place, end, f"{ratio:.2f} ×   {values(row)}")
    axes.set_yticks(range(len(drawn)), [letters.write(row.figure.words) for row, _ in drawn])
    axes.axvline(0, color=style.DARK, linewidth=1)
    reach = max(1.0, *(abs(end) for end in ends)) if ends else 1.0
    axes.set_xlim(-2.2 * reach, 2.2 * reach)
    style.dress(axes, x="containers relative to the virtual environment", grid="x")
    axes.set_xticks(ticks := range(-math.ceil(reach), math.ceil(reach) + 1), [f"{2.0**tick:g} ×" for tick in ticks])
    style.set_title(figure, letters.write(title), letters.write(note))
    style.in_families(figure, letters.families)
    return save_png(figure, output)


def colour(row: Row, ratio: float) -> str:
    """Green where containers do better, red where worse, grey where equal; the side of the bar says it too."""
    if abs(ratio - 1) <= EQUAL:
        return style.GREY
    return style.GREEN if (ratio < 1) == row.figure.less_is_better else style.RED


def values(row: Row) -> str:
    """`21.2 → 33.1 images/s`."""
    return f"{show(row.venv)} → {show(row.docker, row.figure.unit)}"


def _label(axes: Axes, place: int, end: float, text: str) -> None:
    """Beside the bar's end, away from its foot."""
    side, shift = ("left", 5) if end >= 0 else ("right", -5)
    axes.annotate(text, (end, place), xytext=(shift, 0), textcoords="offset points", ha=side, va="center",
                  fontsize=style.TICK_SIZE, color=style.INK)  # fmt: skip
