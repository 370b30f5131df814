"""The reliability diagram: how often the network is right where it says that it is so sure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from mlstack.metrics import CalibrationBins
from mlstack.reports import style
from mlstack.reports.saving import save_png


def draw_calibration(bins: CalibrationBins, output: Path, *, title: str = "Calibration") -> Path:
    """Draw the share of right decisions in each bin of confidence, and below it how many pictures fall there.

    Args:
        bins: Decisions sorted by confidence.
        output: The PNG to write.
        title: What the figure is of.

    Returns:
        `output`.

    Raises:
        OutputError: The PNG can't be written.
    """
    figure = style.new_figure(5.2, 5.6)
    reliability, pictures = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_reliability(reliability, bins)
    edges = np.arange(len(bins.pictures)) / len(bins.pictures)
    shares = bins.pictures / max(int(bins.pictures.sum()), 1)
    pictures.bar(edges, shares, width=0.9 / len(edges), align="edge", color=style.DARK)
    style.dress(reliability, y="share of them that is right", grid="y")
    style.dress(pictures, x="confidence: probability of the class decided for", y="share of pictures", grid="y")
    for axis in (reliability.yaxis, pictures.yaxis, pictures.xaxis):
        axis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
    pictures.set_xlim(0, 1)
    style.set_title(figure, title, _describe(bins))
    style.in_families(figure, ("DejaVu Sans",))
    return save_png(figure, output)


def draw_calibration_change(
    before: CalibrationBins, after: CalibrationBins, output: Path, *, title: str = "Calibration", note: str = ""
) -> Path:
    """Draw the same pictures' decisions twice, before and after a temperature was fitted.

    Args:
        before: Decisions sorted by the confidence that the network had.
        after: By the confidence that it has since.
        output: The PNG to write.
        title: What the figure is of.
        note: What a reader has to know about the pictures.

    Returns:
        `output`.

    Raises:
        OutputError: The PNG can't be written.
    """
    figure = style.new_figure(8.4, 4.6)
    for axes, name, bins in zip(figure.subplots(1, 2, sharey=True), ("before", "after"), (before, after), strict=True):
        _draw_reliability(axes, bins, legend=bins is before)
        style.dress(axes, x=f"confidence {name}: expected calibration error {bins.error:.2%}", grid="y")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        axes.set_xlim(0, 1)
    figure.axes[0].set_ylabel("share of them that is right", fontsize=style.LABEL_SIZE, color=style.INK)
    style.set_title(figure, title, note)
    style.in_families(figure, ("DejaVu Sans",))
    return save_png(figure, output)


def _draw_reliability(axes: Axes, bins: CalibrationBins, *, legend: bool = True) -> None:
    """A bar a bin that has pictures; hatched is what lies between how sure the network was and how often right."""
    width = 1 / len(bins.pictures)
    filled = np.flatnonzero(bins.pictures)
    edges, accuracy = filled * width, bins.accuracy[filled]
    gaps = bins.confidence[filled] - accuracy
    axes.bar(edges, accuracy, width=0.9 * width, align="edge", color=style.BLUE, label="right")
    axes.bar(edges, gaps, bottom=accuracy, width=0.9 * width, align="edge", facecolor="none", edgecolor=style.RED,
             hatch="////", linewidth=0.8, label="gap to confidence")  # fmt: skip
    axes.plot([0, 1], [0, 1], color=style.INK, linewidth=1, linestyle=(0, (4, 3)), label="well calibrated")
    axes.set_ylim(0, 1)
    if legend:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=style.TICK_SIZE)


def _describe(bins: CalibrationBins) -> str:
    total = max(int(bins.pictures.sum()), 1)
    confidence, accuracy = ((bins.pictures * part).sum() / total for part in (bins.confidence, bins.accuracy))
    means = f"mean confidence {confidence:.1%}, accuracy {accuracy:.1%}"
    return f"{means}; expected calibration error {bins.error:.2%} ({len(bins.pictures)} bins)"
