"""Model files in one figure: size against latency, how good each is, and how many pictures a second by batch size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.typing import LineStyleType

from mlstack.config.trainer import LESS_IS_BETTER
from mlstack.reports import style
from mlstack.reports.bundle_rows import MEASURED, RECORDED, RECORDED_MARK, MeasuredModel, labels, shown_score
from mlstack.reports.fonts import lettering
from mlstack.reports.point_labels import label_points
from mlstack.reports.saving import save_png
from mlstack.reports.text_width import shorten

PURPLE = "#CC79A7"  # of the same palette as the other colours
COLOURS = (style.BLUE, style.RED, style.GREEN, style.ORANGE, style.SKY, PURPLE, style.INK)
MARKERS = {"fp32": "o", "int8": "s", "int8_dynamic": "D", "fp16": "^"}
DASHES: dict[str, LineStyleType] = {
    "fp32": "solid",
    "int8": (0, (5, 2)),
    "int8_dynamic": (0, (1, 1.5)),
    "fp16": (0, (5, 1, 1, 1)),
}
LABEL_WIDTH = 30  # columns
SPREAD = 4  # times that the greatest value is the least one, from which an axis is logarithmic
PERCENT_TICKS = FuncFormatter(lambda value, _: f"{value * 100:.4g} %")
WIDTH, LEAST_HEIGHT, ROW_HEIGHT = 11.5, 5.6, 0.24  # inches


def draw_bundle_comparison(
    models: Sequence[MeasuredModel], output: Path, *, title: str = "Comparison of models", note: str = ""
) -> Path:
    """Draw model files that were measured together.

    Args:
        models: At least one. Of each, the first speed is drawn against its size.
        output: The PNG to write.
        title: What the figure is of.
        note: What a reader has to know about the measurement: machine, runtime, data.

    Returns:
        `output`.

    Raises:
        OutputError: The PNG can't be written.
    """
    letters = lettering([title, note, *(model.bundle for model in models)])
    names = [letters.write(shorten(name, LABEL_WIDTH)) for name in labels(models)]
    bundles = list(dict.fromkeys(model.bundle for model in models))
    colours = [COLOURS[min(bundles.index(model.bundle), len(COLOURS) - 1)] for model in models]
    figure = style.new_figure(WIDTH, max(LEAST_HEIGHT, 3.2 + ROW_HEIGHT * len(models)))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.15, 1), height_ratios=(max(1.0, 0.12 * len(models)), 1.2))
    plane, scores, rates = (figure.add_subplot(place) for place in (grid[:, 0], grid[0, 1], grid[1, 1]))
    _draw_plane(plane, models, colours)
    _draw_scores(scores, models, names, colours)
    _draw_rates(rates, models, colours)
    if any(model.origin == RECORDED and model.score is not None for model in models):
        note = f"{note}    hollow, {RECORDED_MARK}: recorded in the bundle, not measured now".strip()
    style.set_title(figure, letters.write(title), letters.write(note))
    style.in_families(figure, letters.families)
    figure.draw_without_rendering()  # only now is it known where the axes lie
    figure.set_layout_engine("none")
    points = [(model.megabytes, model.speeds[0].p50) for model in models]
    lines = [(model.megabytes, share * model.speeds[0].p95 + (1 - share) * model.speeds[0].p50)
             for model in models for share in (0.25, 0.5, 0.75, 1)]  # fmt: skip
    inks = [_dark(colour) for colour in colours]
    usual = min(model.speeds[0].batch for model in models)
    names = [
        name if model.speeds[0].batch == usual else f"{name} (a batch of {model.speeds[0].batch})"
        for name, model in zip(names, models, strict=True)
    ]
    label_points(plane, points, names, inks, obstacles=lines, size=style.TICK_SIZE, families=letters.families)
    return save_png(figure, output)


def _draw_plane(axes: Axes, models: Sequence[MeasuredModel], colours: Sequence[str]) -> None:
    """Size against the latency of the first speed: a sign at the median, a line up to p95; smaller files are joined."""
    origins = {model.bundle: model for model in reversed(models)}
    for model, colour in zip(models, colours, strict=True):
        speed, origin = model.speeds[0], origins[model.bundle]
        if origin is not model:
            line = ((origin.megabytes, model.megabytes), (origin.speeds[0].p50, speed.p50))
            axes.plot(*line, color=colour, linewidth=1, alpha=0.35, zorder=1)
        axes.plot([model.megabytes] * 2, [speed.p50, speed.p95], color=colour, linewidth=1.2, zorder=2)
        axes.plot(
            model.megabytes, speed.p50, MARKERS[model.precision], color=colour, markersize=8, markeredgecolor="white"
        )
    first = min((model.speeds[0] for model in models), key=lambda speed: speed.batch)
    pictures = "one picture" if first.batch == 1 else f"a batch of {first.batch}"
    threads = "one thread" if first.threads == 1 else f"{first.threads} threads"
    style.dress(
        axes, title=f"Size and time for {pictures}, {threads} (line: up to p95)", x="size, MB", y="milliseconds"
    )
    _scale(axes, "x", [model.megabytes for model in models])
    _scale(axes, "y", [value for model in models for value in (model.speeds[0].p50, model.speeds[0].p95)])
    axes.grid(color=style.PALE, linewidth=0.8)


def _scale(axes: Axes, which: str, values: Sequence[float]) -> None:
    """From 0 where values lie near each other, else logarithmic; with room for names on all sides."""
    low, high = min(values), max(values)
    axis = axes.xaxis if which == "x" else axes.yaxis
    limits = axes.set_xlim if which == "x" else axes.set_ylim
    if high < SPREAD * low:
        limits(0, high * 1.3)
        return
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    margin = (high / low) ** 0.18
    limits(low / margin, high * margin)
    steps = (1, 1.5, 2, 3, 5, 7) if high < 12 * low else (1, 2, 5) if high < 300 * low else (1,)
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    axis.set_major_locator(FixedLocator([step * 10.0**decade for decade in decades for step in steps]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(style.PLAIN_TICKS)


def _draw_scores(axes: Axes, models: Sequence[MeasuredModel], names: Sequence[str], colours: Sequence[str]) -> None:
    """One line a model file, the best on top, with its score in words."""
    metric = models[0].metric
    less = metric in LESS_IS_BETTER
    known = [model.score for model in models if model.score is not None]
    order = sorted(range(len(models)), key=lambda index: _worth(models[index].score, less=less))
    for place, index in enumerate(order):
        model, colour = models[index], colours[index]
        if model.score is not None:
            filled = colour if model.origin == MEASURED else "white"
            axes.plot(model.score, place, MARKERS[model.precision], color=colour, markerfacecolor=filled, markersize=6)
        axes.annotate(shown_score(model), (1.01, place), xycoords=("axes fraction", "data"), va="center",
                      fontsize=style.TICK_SIZE, color=style.INK, annotation_clip=False)  # fmt: skip
    axes.set_yticks(range(len(models)), [names[index] for index in order])
    axes.set_ylim(-0.6, len(models) - 0.4)
    if known:
        room = max((max(known) - min(known)) * 0.12, abs(max(known)) * 0.002)
        axes.set_xlim(min(known) - room, max(known) + room)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(style.PLAIN_TICKS if less else PERCENT_TICKS)
    better = "less is better" if less else "more is better"
    style.dress(axes, title=f"{metric.replace('_', ' ')} ({better})", grid="x")
    axes.tick_params(axis="y", length=0)
    for tick, index in zip(axes.get_yticklabels(), order, strict=True):
        tick.set_color(_dark(colours[index]))
    axes.spines["left"].set_visible(False)


def _worth(score: float | None, *, less: bool) -> float:
    if score is None:
        return float("-inf")
    return -score if less else score


def _draw_rates(axes: Axes, models: Sequence[MeasuredModel], colours: Sequence[str]) -> None:
    """Images a second by batch size, at the first number of threads; colours as above, signs by precision."""
    threads = models[0].speeds[0].threads
    batches = sorted({speed.batch for model in models for speed in model.speeds})
    for model, colour in zip(models, colours, strict=True):
        found = [speed for speed in model.speeds if speed.threads == threads]
        axes.plot(
            [batches.index(speed.batch) for speed in found],
            [speed.images_per_second for speed in found],
            color=colour,
            linestyle=DASHES[model.precision],
            marker=MARKERS[model.precision],
            markersize=5,
            linewidth=1.5,
        )
    style.dress(axes, title="Images a second by batch size", x="images a call", grid="y")
    axes.set_xticks(range(len(batches)), [str(batch) for batch in batches])
    axes.set_xlim(-0.3, len(batches) - 0.7)
    _scale(axes, "y", [speed.images_per_second for model in models for speed in model.speeds])
    signs = [
        Line2D([], [], color=style.DARK, marker=MARKERS[precision], linestyle=DASHES[precision], label=precision)
        for precision in MARKERS
        if any(model.precision == precision for model in models)
    ]
    if len(signs) > 1:
        axes.legend(handles=signs, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, markerscale=0.8,
                    fontsize=style.TICK_SIZE)  # fmt: skip


def _dark(colour: str) -> str:
    """A colour for letters: light ones are hard to read on white."""
    red, green, blue = to_rgb(colour)
    return to_hex((red * 0.72, green * 0.72, blue * 0.72))
