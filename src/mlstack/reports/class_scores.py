"""Precision, recall and F1 of each class, or of each of several labels, as bars: the worst on top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from mlstack.metrics import ClassScores
from mlstack.reports import style
from mlstack.reports.fonts import lettering
from mlstack.reports.saving import save_png
from mlstack.reports.text_width import shorten

SHOWN = 30  # classes; of more, the worst
NAME_WIDTH = 28  # columns of text
PLURALS = {"class": "classes", "label": "labels"}
BARS = (("precision", style.BLUE, ""), ("recall", style.ORANGE, "////"), ("f1", style.DARK, ""))  # / for grey prints


def draw_class_scores(
    scores: Sequence[ClassScores],
    classes: Sequence[str],
    output: Path,
    *,
    title: str = "Scores of each class",
    kind: str = "class",
) -> Path:
    """Draw the scores of each class, sorted by F1, worst first.

    Args:
        scores: One a class, in the order of the labels. Classes without a picture are left out: nothing is known.
        classes: Class names in the order of their labels.
        output: The PNG to write.
        title: What the figure is of.
        kind: `class` or `label`: what the names are called.

    Returns:
        `output`.

    Raises:
        OutputError: The PNG can't be written.
    """
    letters = lettering([title, *classes])
    names = letters.names(classes, kind=kind)
    known = [index for index, score in enumerate(scores) if score.support]
    shown = sorted(known, key=lambda index: scores[index].f1)[:SHOWN]
    figure = style.new_figure(7.5, 1.9 + 0.34 * max(len(shown), 2))
    axes = figure.subplots()
    _draw_bars(axes, [scores[index] for index in shown])
    labels = [f"{shorten(names[index], NAME_WIDTH)}  ({scores[index].support:,})" for index in shown]
    axes.set_yticks(range(len(shown)), labels=labels)
    style.dress(axes, x="score (0 to 1)", y=f"{kind} (pictures)", grid="x")
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, fontsize=style.TICK_SIZE)
    style.set_title(figure, letters.write(title), _describe(len(scores), len(known), len(shown), PLURALS[kind]))
    style.in_families(figure, letters.families)
    return save_png(figure, output)


def _draw_bars(axes: Axes, scores: Sequence[ClassScores]) -> None:
    positions = np.arange(len(scores))
    for place, (name, colour, hatch) in enumerate(BARS):
        values = [getattr(score, name) for score in scores]
        label = "F1" if name == "f1" else name
        axes.barh(positions + (place - 1) * 0.26, values, 0.24, color=colour, hatch=hatch, edgecolor="white",
                  linewidth=0, label=label)  # fmt: skip
    for position, score in enumerate(scores):
        axes.text(1.01, position + 0.26, f"{score.f1:.3f}", fontsize=style.TICK_SIZE, va="center", color=style.DARK)
    axes.text(1.01, -0.75, "F1", fontsize=style.TICK_SIZE, va="bottom", color=style.DARK)
    axes.set_xlim(0, 1)
    axes.set_ylim(max(len(scores), 1) - 0.4, -0.6)  # the first, the worst, on top


def _describe(total: int, known: int, shown: int, plural: str) -> str:
    parts = [f"the {shown} worst of {known:,} {plural}" if shown < known else "worst F1 first"]
    if known < total:
        parts.append(f"{total - known:,} {plural} without a picture are left out")
    return "; ".join(parts)
