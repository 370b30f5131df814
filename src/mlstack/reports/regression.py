"""Predicted numbers against the true ones, and how the misses are spread: one panel a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mlstack.metrics import TargetScores, per_target_metrics
from mlstack.reports import style
from mlstack.reports.fonts import lettering
from mlstack.reports.numbers import short_number
from mlstack.reports.saving import save_png
from mlstack.reports.text_width import shorten

SHOWN = 12  # targets
COLUMNS = 4
POINTS = 5000  # a panel; of more pictures, as many at equal distances
NAME_WIDTH = 30  # columns of text

Panel = Callable[[Axes, NDArray[np.float64], NDArray[np.float64]], None]


def draw_predicted_against_true(
    values: NDArray[np.floating],
    targets: NDArray[np.floating],
    names: Sequence[str],
    output: Path,
    *,
    title: str = "Predicted against true values",
) -> Path:
    """Draw a point a picture, on the dashed line where the prediction is exact; R² and error above each panel.

    Args:
        values: float [n, target], the predictions.
        targets: float [n, target], the truth.
        names: Target names; of more than 12 the first.
        output: The PNG to write.
        title: What the figure is of.

    Returns:
        `output`.

    Raises:
        OutputError: The PNG can't be written.
    """
    note = "dashed: predicted = true"
    if len(values) > POINTS:
        note += f"; {POINTS:,} of {len(values):,} pictures are drawn, and all are scored"
    return _draw_panels(_scatter, values, targets, names, output, title=title, note=note)


def draw_residuals(
    values: NDArray[np.floating],
    targets: NDArray[np.floating],
    names: Sequence[str],
    output: Path,
    *,
    title: str = "Residuals",
) -> Path:
    """Draw histograms of predicted - true; arguments, return value and errors as for the other figure."""
    note = "to the right of the line: predicted too much; dotted: mean"
    return _draw_panels(_histogram, values, targets, names, output, title=title, note=note)


def _draw_panels(
    draw: Panel,
    values: NDArray[np.floating],
    targets: NDArray[np.floating],
    names: Sequence[str],
    output: Path,
    *,
    title: str,
    note: str,
) -> Path:
    letters = lettering([title, *names[:SHOWN]])
    drawable = letters.names(names[:SHOWN], kind="target")
    shown = len(drawable)
    columns = min(COLUMNS, shown)
    rows = math.ceil(shown / columns)
    figure = style.new_figure(max(3.3 * columns, 4.6), 3.4 * rows + 0.7)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    scores = per_target_metrics(values[:, :shown], targets[:, :shown])
    for column, (axes, name, score) in enumerate(zip(panels, drawable, scores, strict=False)):
        _draw_panel(draw, axes, values[:, column], targets[:, column])
        heading = f"{shorten(name, NAME_WIDTH)}\n{_describe(score)}"
        axes.set_title(heading, fontsize=style.LABEL_SIZE, color=style.INK, loc="left")
    for axes in panels[shown:]:
        axes.set_visible(False)
    more = f"the first {shown} of {len(names):,} targets; " if shown < len(names) else ""
    style.set_title(figure, letters.write(title), more + note)
    style.in_families(figure, letters.families)
    return save_png(figure, output)


def _draw_panel(draw: Panel, axes: Axes, values: NDArray[np.floating], truth: NDArray[np.floating]) -> None:
    """One target; float [n] each. Predictions that are NaN or infinite are left out and counted."""
    finite = np.isfinite(values)
    if finite.any():
        draw(axes, values[finite].astype(np.float64), truth[finite].astype(np.float64))
    else:
        style.bare(axes)
    if lost := int((~finite).sum()):
        axes.text(0.5, 0.5, f"{lost:,} predictions are\nNaN or infinite", transform=axes.transAxes, ha="center",
                  fontsize=style.TICK_SIZE, color=style.RED)  # fmt: skip


def _scatter(axes: Axes, values: NDArray[np.float64], truth: NDArray[np.float64]) -> None:
    chosen = np.linspace(0, len(values) - 1, min(POINTS, len(values))).astype(np.int64)
    alpha = float(np.clip(300 / len(chosen), 0.12, 0.7))
    axes.scatter(truth[chosen], values[chosen], s=12, color=style.BLUE, alpha=alpha, linewidths=0)
    low, high = min(values.min(), truth.min()), max(values.max(), truth.max())
    margin = 0.04 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color=style.INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    style.dress(axes, x="true", y="predicted")
    axes.set_aspect("equal")
    _few_ticks(axes)


def _histogram(axes: Axes, values: NDArray[np.float64], truth: NDArray[np.float64]) -> None:
    residuals = values - truth
    reach = float(np.abs(residuals).max()) or 1.0
    axes.hist(residuals, bins=min(40, max(10, math.isqrt(len(residuals)))), range=(-reach, reach), color=style.BLUE)
    axes.axvline(0, color=style.INK, linewidth=1)
    axes.axvline(float(residuals.mean()), color=style.RED, linewidth=1.2, linestyle=":")
    style.dress(axes, x="predicted - true", y="pictures", grid="y")
    _few_ticks(axes)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))


def _few_ticks(axes: Axes) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=5))
        axis.set_major_formatter(style.PLAIN_TICKS)


def _describe(score: TargetScores) -> str:
    r2 = "–" if score.r2 is None else f"{score.r2:.3f}"
    return f"R² {r2}, MAE {'–' if score.mae is None else short_number(score.mae)}"
