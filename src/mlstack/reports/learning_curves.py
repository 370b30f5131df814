"""Learning curves: loss, the task's metric and learning rate over the optimizer steps, with the best epoch marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mlstack.config.model import LOSSES
from mlstack.config.trainer import METRICS
from mlstack.reports import style
from mlstack.reports.fonts import lettering
from mlstack.reports.metrics_file import Points, read_metrics
from mlstack.reports.saving import save_png

SMOOTH_FROM = 80  # points: below, the raw line is readable
MARKED_UP_TO = 40  # points, each with a mark of its own
LOG_SCALE_FROM = 50.0  # greatest loss over the least: above, a linear axis shows the first steps only
LOSS_LABELS = {  # what model.loss measures
    "cross_entropy": "cross-entropy (nats)",
    "focal": "focal loss; validation: cross-entropy",
    "bce": "binary cross-entropy",
    "mse": "squared error / variance",
    "mae": "absolute error / deviation",
    "huber": "Huber loss, in deviations",
}
METRIC_LABELS = {
    "accuracy": ("Accuracy", "share of pictures that are right"),
    "f1": ("F1", "mean over the labels"),
    "mae": ("Mean absolute error", "in the units of the targets"),
}


def draw_learning_curves(
    metrics_csv: Path,
    output: Path,
    *,
    monitor: str = "val_accuracy",
    mode: str = "max",
    title: str = "Learning curves",
    task: str = "classification",
    loss: str = "auto",
) -> Path:
    """Draw loss, the task's metric and learning rate; also another metric that is monitored, and training accuracy.

    A regression trains on scaled targets and is validated in their own units: its validation loss is not drawn.

    Args:
        metrics_csv: The log of a run: columns epoch, step, learning_rate, train_loss, train_accuracy, val_loss and
            val_<metric>; one row a logged point. Other columns are not drawn.
        output: The PNG to write.
        monitor: The column that decides which epoch is best; one that was not logged marks none.
        mode: `max` or `min`: whether more or less of it is better.
        title: What the figure is of.
        task: `data.task`, which decides about the metric.
        loss: `model.loss`, which training has minimised; `auto` is the task's first one.

    Returns:
        `output`.

    Raises:
        RunError: metrics.csv can't be read.
        OutputError: The PNG can't be written.
    """
    columns = read_metrics(metrics_csv)
    letters = lettering([title])
    best = _best(columns.get(monitor), mode)
    metrics = _metrics(columns, task, monitor)
    figure = style.new_figure(11 * (2 + len(metrics)) / 3, 3.7)
    panels = figure.subplots(1, 2 + len(metrics), sharex=True)
    _draw_loss(panels[0], columns, best, task=task, loss=loss)
    for axes, metric in zip(panels[1:-1], metrics, strict=True):
        _draw_pair(axes, columns, metric, best)
        heading, unit = METRIC_LABELS.get(metric, (metric.replace("_", " ").capitalize(), ""))
        style.dress(axes, title=heading, y=unit, x="optimizer steps", grid="y")
    _draw_rate(panels[-1], columns.get("learning_rate"))
    panels[0].set_xlim(*_span(columns))
    panels[0].xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    panels[0].xaxis.set_major_formatter(style.PLAIN_TICKS)
    style.set_title(figure, letters.write(title), _describe(best, monitor))
    style.in_families(figure, letters.families)
    return save_png(figure, output)


def _metrics(columns: Mapping[str, Points], task: str, monitor: str) -> list[str]:
    """The task's own metric; then, where they are others and were logged, the monitored one and training's accuracy."""
    own, monitored = METRICS[task][1], monitor.removeprefix("val_")
    others = {"accuracy": "train_accuracy"} | ({} if monitored == "loss" else {monitored: monitor})
    return [own] + [name for name, column in others.items() if name != own and len(columns.get(column, ()))]


def _draw_loss(
    axes: Axes, columns: Mapping[str, Points], best: tuple[int, int, float] | None, *, task: str, loss: str
) -> None:
    if task == "regression":
        columns = {name: points for name, points in columns.items() if name != "val_loss"}
    _draw_pair(axes, columns, "loss", best)
    name = LOSSES[task][0] if loss == "auto" else loss
    heading = "Training loss" if task == "regression" else "Loss"
    style.dress(axes, title=heading, y=LOSS_LABELS.get(name, name.replace("_", " ")), x="optimizer steps", grid="y")


def _span(columns: Mapping[str, Points]) -> tuple[float, float]:
    """The range of steps to show, the same in all panels, from 0 to a little more than the last logged one."""
    last = max((int(points.steps.max()) for points in columns.values() if len(points)), default=1)
    return -0.02 * max(last, 1), 1.04 * max(last, 1)


def _best(points: Points | None, mode: str) -> tuple[int, int, float] | None:
    """Epoch, step and value of the best finite point; the first one among equals, as with checkpoints."""
    if points is None or not np.isfinite(points.values).any():
        return None
    finite = np.where(np.isfinite(points.values), points.values, -np.inf if mode == "max" else np.inf)
    index = int(finite.argmax() if mode == "max" else finite.argmin())
    return int(points.epochs[index]), int(points.steps[index]), float(points.values[index])


def _describe(best: tuple[int, int, float] | None, monitor: str) -> str:
    if best is None:
        return ""
    epoch, step, value = best
    name = monitor.replace("_", " ")
    return f"dashed: best {name}, {value:.4g}, in epoch {epoch} (the first is 0) after {step:,} steps"


def _draw_pair(axes: Axes, columns: Mapping[str, Points], name: str, best: tuple[int, int, float] | None) -> None:
    """Training and validation of one quantity."""
    train, val = (columns.get(f"{part}_{name}") for part in ("train", "val"))
    logged = [points for points in (train, val) if points is not None and len(points)]
    values = np.concatenate([points.values for points in logged] or [np.empty(0)])
    finite = values[np.isfinite(values)]
    if not finite.size:
        _say(axes, f"no finite {name} was logged")
        return
    if train is not None and len(train):
        _draw_training(axes, train)
    if val is not None and len(val):
        marker = "o" if len(val) <= MARKED_UP_TO else ""
        axes.plot(val.steps, _gaps(val.values), color=style.RED, linewidth=1.6, marker=marker, markersize=4,
                  label="validation")  # fmt: skip
    if best is not None:
        axes.axvline(best[1], color=style.INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    _scale(axes, name, finite)
    _warn_of_gaps(axes, logged)
    axes.legend(fontsize=style.TICK_SIZE, edgecolor="none", framealpha=0.85)


def _draw_training(axes: Axes, points: Points) -> None:
    """The training line; many points are noise: they turn pale, and their running mean stands on top."""
    values, label = _gaps(points.values), "training"
    if len(values) >= SMOOTH_FROM:
        axes.plot(points.steps, values, color=style.SKY, alpha=0.45, linewidth=0.8)
        values, label = _running_mean(values, len(values) // 30), "training (running mean)"
    marker = "s" if len(values) <= MARKED_UP_TO else ""
    axes.plot(points.steps, values, color=style.BLUE, linewidth=1.6, marker=marker, markersize=3, label=label)


def _gaps(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN, which a line skips, also for infinity, which would spoil the scale: float64 [point]."""
    return np.where(np.isfinite(values), values, np.nan)


def _running_mean(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean of each point and its neighbours on either side: float64 [point].

    There are `width` neighbours, fewer near the ends, but always as many on either side, so that a slope stays true.
    NaN are skipped, and stay.
    """
    places = np.arange(len(values))
    reach = np.minimum(width, np.minimum(places, places[::-1]))
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    first, end = places - reach, places + reach + 1
    return np.where(known, (sums[end] - sums[first]) / np.maximum(counts[end] - counts[first], 1), np.nan)


def _scale(axes: Axes, name: str, values: NDArray[np.float64]) -> None:
    """Set the scale for finite values: float64 [point]."""
    if name in ("loss", "mae") and values.min() > 0 and values.max() / values.min() > LOG_SCALE_FROM:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(style.PLAIN_TICKS)
    elif name in ("accuracy", "f1"):
        margin = 0.02 + 0.05 * float(np.ptp(values))
        axes.set_ylim(max(0.0, values.min() - margin), min(1.005, values.max() + margin))


def _warn_of_gaps(axes: Axes, logged: Sequence[Points]) -> None:
    lost = [int(step) for points in logged for step in points.steps[~np.isfinite(points.values)]]
    if lost:
        axes.text(0.98, 0.5, f"NaN or infinite\nfrom step {min(lost):,}", transform=axes.transAxes, ha="right",
                  fontsize=style.TICK_SIZE, color=style.RED)  # fmt: skip


def _draw_rate(axes: Axes, points: Points | None) -> None:
    style.dress(axes, title="Learning rate", y="per optimizer step", x="optimizer steps", grid="y")
    if points is None or not len(points):
        _say(axes, "no learning rate was logged")
        return
    marker = "s" if len(points) <= MARKED_UP_TO else ""
    axes.plot(points.steps, points.values, color=style.BLUE, linewidth=1.6, marker=marker, markersize=3)
    if points.values.max() > 0:
        axes.set_ylim(0, 1.05 * float(points.values.max()))
    axes.yaxis.set_major_formatter(style.PLAIN_TICKS)


def _say(axes: Axes, words: str) -> None:
    axes.set_yticks([])
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", fontsize=style.LABEL_SIZE, color=style.GREY)
