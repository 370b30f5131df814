"""The look that all figures share, set on each object: matplotlib's global settings stay as they are.

The colours are Okabe and Ito's, told apart by colour-blind people and, by their brightness, in a grey print
(https://jfly.uni-koeln.de/color/). What a colour says is also said by a sign, a line style or a word.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter

BLUE, ORANGE, GREEN, RED, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9"
INK, DARK, GREY, PALE = "#222222", "#555555", "#767676", "#E4E4E4"
DPI = 150
TITLE_SIZE, LABEL_SIZE, TICK_SIZE, NOTE_SIZE = 12, 9, 8, 7.5  # points


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure of `width` × `height` inches that needs no display."""
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)  # inches
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def set_title(figure: Figure, title: str, note: str = "") -> None:
    """Title and, below it in grey, what a reader has to know to read the figure."""
    figure.suptitle(title, fontsize=TITLE_SIZE, color=INK)
    if note:
        figure.supxlabel(note, fontsize=NOTE_SIZE, color=GREY)


def dress(axes: Axes, *, title: str = "", x: str = "", y: str = "", grid: str = "") -> None:
    """Labels, sizes and quiet lines. `grid` is `x`, `y` or empty."""
    axes.set_title(title, fontsize=LABEL_SIZE + 1, color=INK, loc="left")
    axes.set_xlabel(x, fontsize=LABEL_SIZE, color=INK)
    axes.set_ylabel(y, fontsize=LABEL_SIZE, color=INK)
    axes.tick_params(labelsize=TICK_SIZE, color=GREY, labelcolor=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.set_axisbelow(True)
    if grid == "x":
        axes.grid(axis="x", color=PALE, linewidth=0.8)
    elif grid == "y":
        axes.grid(axis="y", color=PALE, linewidth=0.8)


def bare(axes: Axes) -> None:
    """No ticks and no frame: for a picture or a text."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def plain_number(value: float, _position: int | None = None) -> str:
    """A tick's number as people write it: 0.001, 5e-05, 12,000."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


PLAIN_TICKS = FuncFormatter(plain_number)


def in_families(figure: Figure, families: Sequence[str]) -> None:
    """Draw every text in these font families (later ones step in for missing characters) and none as a formula.

    A class or file name may hold `$`, which matplotlib would otherwise read as the start of a formula.
    """
    for text in figure.findobj(match=lambda artist: hasattr(artist, "set_parse_math")):
        text.set_parse_math(False)  # type: ignore[attr-defined]
        text.set_fontfamily(list(families))  # type: ignore[attr-defined]
