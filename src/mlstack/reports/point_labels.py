"""Names beside points, none over another or over a point, as far as there is room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from numpy.typing import NDArray

from mlstack.reports import style

Boxes = NDArray[np.float64]  # [n, 4]: left, bottom, right, top, in pixels

DISTANCES = (7, 14, 24, 36, 50, 66)  # points of print, between a point and the near edge of its name
ANGLES = (0, 180, 90, 270, 30, 330, 150, 210, 60, 300, 120, 240)  # degrees, the best places first
LED_FROM = 14  # a name that is as far off as this gets a thin line to its point
POINT = 10  # points of print, height and width of the place that a point takes


def label_points(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    colours: Sequence[str],
    *,
    obstacles: Sequence[tuple[float, float]] = (),
    size: float,
    families: Sequence[str],
) -> list[Annotation]:
    """Write a name beside each point, where it covers least; call it once the axes have their limits and place.

    Args:
        axes: Where the points are drawn already.
        points: x and y of each, in the axes' own units.
        names: Of each.
        colours: Of each name.
        obstacles: Further places that no name should cover, in the axes' own units.
        size: Of the letters, in points.
        families: Their fonts, since widths depend on them.

    Returns:
        The names, placed; their order is that of `points`.
    """
    figure = axes.figure
    assert isinstance(figure, Figure) and isinstance(figure.canvas, FigureCanvasAgg)
    renderer = figure.canvas.get_renderer()  # type: ignore[no-untyped-call]
    scale = figure.dpi / 72  # pixels a point
    places = axes.transData.transform([*points, *obstacles])
    taken = boxes_around(places, POINT * scale, POINT * scale)
    frame = np.array([axes.get_window_extent(renderer).extents])
    written = []
    for point, place, name, colour in zip(points, places, names, colours, strict=False):
        note = _write(axes, point, name, colour, size=size, families=families)
        box = note.get_window_extent(renderer)
        shifts, distances = offers(box.width, box.height, scale)
        tried = boxes_around(place + shifts, box.width, box.height)
        covered = overlaps(tried, taken) + box.width * box.height - overlaps(tried, frame)
        best = int(np.argmin(covered * 10 + distances))  # a nearer place is worth a few pixels covered, not more
        note.set_position((shifts[best, 0] / scale, shifts[best, 1] / scale))
        if distances[best] < LED_FROM and note.arrow_patch is not None:
            note.arrow_patch.set_visible(False)
        taken = np.vstack([taken, tried[best]])
        written.append(note)
    return written


def _write(
    axes: Axes, point: tuple[float, float], name: str, colour: str, *, size: float, families: Sequence[str]
) -> Annotation:
    """A name with its centre on its point, and a thin line that shows once it is moved."""
    return axes.annotate(
        name,
        point,
        xytext=(0, 0),
        textcoords="offset points",
        fontsize=size,
        fontfamily=list(families),
        parse_math=False,
        color=colour,
        ha="center",
        va="center",
        annotation_clip=False,
        arrowprops={"arrowstyle": "-", "color": style.GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4},
    )


def offers(width: float, height: float, scale: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where a name's centre may lie: pixels from its point [n, 2], and the distance in points of print [n]."""
    distances = np.repeat(np.array(DISTANCES, np.float64), len(ANGLES))
    angles = np.tile(np.radians(ANGLES), len(DISTANCES))
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return directions * (distances[:, None] * scale + np.array([width, height]) / 2), distances


def boxes_around(centres: NDArray[np.float64], width: float, height: float) -> Boxes:
    """Boxes of one size around centres [n, 2]."""
    half = np.array([width, height]) / 2
    return np.hstack([centres - half, centres + half])


def overlaps(boxes: Boxes, others: Boxes) -> NDArray[np.float64]:
    """How many square pixels of each box [n] the others cover; what several cover counts as often."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared: NDArray[np.float64] = np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)
    return shared
