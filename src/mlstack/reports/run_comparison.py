"""Runs in one figure: the monitored metric against CPU seconds, runs that differ in the seed alone as mean and band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from mlstack.reports import style
from mlstack.reports.fonts import lettering
from mlstack.reports.metrics_file import Points, read_metrics
from mlstack.reports.saving import save_png
from mlstack.reports.seed_summary import SeedGroup
from mlstack.reports.text_width import shorten

COLOURS = (style.BLUE, style.RED, style.GREEN, style.ORANGE, style.SKY)
DASHES = ("solid", (0, (5, 2)))
NAMED = len(COLOURS) * len(DASHES)  # lines with a colour and a name; more can't be told apart
MARKED_UP_TO = 40  # points
LABEL_WIDTH = 52


@dataclass(frozen=True)
class Curve:
    """A run's values at its validations; all arrays [validation].

    Attributes:
        steps: int64, optimizer steps.
        places: float64, CPU seconds or optimizer steps.
        values: float64, finite.
    """

    steps: NDArray[np.int64]
    places: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """What is drawn for a group of runs; all arrays [validation]. `deviations` is None for a single run."""

    label: str
    places: NDArray[np.float64]
    values: NDArray[np.float64]
    deviations: NDArray[np.float64] | None


def draw_comparison(groups: Sequence[SeedGroup], output: Path, *, title: str = "Comparison of runs") -> Path:
    """Draw the metric that the first run has monitored.

    Args:
        groups: From `group_by_seed`.
        output: The PNG to write.
        title: What the figure is of.

    Returns:
        `output`.

    Raises:
        RunError: A metrics.csv can't be read.
        OutputError: The PNG can't be written.
    """
    settings = groups[0].runs[0].settings
    metric, sign = str(settings["trainer.monitor"]), -1 if settings["trainer.mode"] == "min" else 1
    logs = {run.path: read_metrics(run.path / "metrics.csv") for group in groups for run in group.runs}
    by_seconds = all(len(log.get("cpu_seconds", ())) for log in logs.values())
    found = []
    for group in groups:
        curves = [curve(logs[run.path], metric, by_seconds=by_seconds) for run in group.runs]
        measured = [one for one in curves if one is not None]
        if measured:
            found.append(line(group.label, measured))
    lines = sorted(found, key=lambda one: -sign * one.values[-1])
    letters = lettering([title, *(one.label for one in lines)])
    figure = style.new_figure(10, 4.8)
    axes = figure.subplots()
    for number, one in reversed(list(enumerate(lines))):  # the best one on top
        _draw(axes, one, number, letters.write(shorten(one.label, LABEL_WIDTH)))
    x = "CPU seconds of the training process" if by_seconds else "optimizer steps"
    style.dress(axes, y=metric.replace("_", " "), x=x, grid="y")
    axes.xaxis.set_major_formatter(style.PLAIN_TICKS)
    axes.set_xlim(left=0)
    if lines:
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False,
                    fontsize=style.TICK_SIZE)  # fmt: skip
    style.set_title(figure, letters.write(title), _note(lines, len(groups), metric, by_seconds=by_seconds))
    style.in_families(figure, letters.families)
    return save_png(figure, output)


def curve(log: dict[str, Points], metric: str, *, by_seconds: bool) -> Curve | None:
    """The finite values of a column of metrics.csv; None where there are none.

    CPU seconds may stand in other rows than the metric: they are read off between the rows that have them.
    """
    points = log.get(metric)
    if points is None or not np.isfinite(points.values).any():
        return None
    finite = np.isfinite(points.values)
    steps, values = points.steps[finite], points.values[finite]
    if not by_seconds:
        return Curve(steps, steps.astype(np.float64), values)
    clock = log["cpu_seconds"]
    latest = {int(step): float(second) for step, second in zip(clock.steps, clock.values, strict=True)}
    return Curve(steps, np.interp(steps, sorted(latest), [latest[step] for step in sorted(latest)]), values)


def line(label: str, curves: Sequence[Curve]) -> Line:
    """Mean and sample standard deviation over curves, at the steps that all of them have."""
    if len(curves) == 1:
        return Line(label, curves[0].places, curves[0].values, None)
    common = sorted(set.intersection(*(set(one.steps.tolist()) for one in curves)))
    if not common:  # validated at different steps: the ends are what can be compared
        places, values = (np.array([[getattr(one, name)[-1]] for one in curves]) for name in ("places", "values"))
    else:
        chosen = [{int(step): place for place, step in enumerate(one.steps)} for one in curves]
        rows = [[where[step] for step in common] for where in chosen]
        places = np.array([one.places[row] for one, row in zip(curves, rows, strict=True)])
        values = np.array([one.values[row] for one, row in zip(curves, rows, strict=True)])
    return Line(label, places.mean(axis=0), values.mean(axis=0), values.std(axis=0, ddof=1))


def _draw(axes: Axes, one: Line, number: int, label: str) -> None:
    if number >= NAMED:
        axes.plot(
            one.places,
            one.values,
            color=style.GREY,
            linewidth=0.8,
            alpha=0.5,
            marker="" if len(one.values) > 1 else ".",
        )
        return
    colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS)]
    marker = "o" if len(one.values) <= MARKED_UP_TO else ""
    axes.plot(one.places, one.values, color=colour, linestyle=dashes, linewidth=1.6, marker=marker, markersize=3.5,
              label=label)  # fmt: skip
    if one.deviations is None:
        return
    if len(one.values) == 1:
        axes.errorbar(one.places, one.values, one.deviations, color=colour, capsize=4)
    else:
        low, high = one.values - one.deviations, one.values + one.deviations
        axes.fill_between(one.places, low, high, color=colour, alpha=0.18, linewidth=0)


def _note(lines: Sequence[Line], groups: int, metric: str, *, by_seconds: bool) -> str:
    words = []
    if any(one.deviations is not None for one in lines):
        words.append("band: ± one standard deviation over the seeds")
    if len(lines) > NAMED:
        words.append(f"grey: {len(lines) - NAMED} more, below the best {NAMED}")
    if not by_seconds:
        words.append("over steps, since not all runs have logged their CPU seconds")
    if missing := groups - len(lines):
        words.append(f"left out: {missing} without a {metric.replace('_', ' ')}")
    return "    ".join(words)
