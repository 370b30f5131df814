"""The figures of one run, drawn from its metrics.csv and from predictions on one split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.datasets.base import Split
from mlstack.metrics import confusion_matrix, per_class_metrics
from mlstack.reports.class_scores import draw_class_scores
from mlstack.reports.confusion_matrix import draw_confusion_matrix
from mlstack.reports.pictures import SHOWN, draw_predictions, worst_mistakes


def draw_split(
    folder: Path,
    split: Split,
    probabilities: NDArray[np.floating],
    classes: Sequence[str],
    *,
    name: str,
    suffix: str = "",
) -> list[Path]:
    """Confusion matrix, scores of each class, sample predictions and worst mistakes.

    Args:
        folder: Where the PNGs go.
        split: The pictures with their labels; may hold more than were predicted.
        probabilities: float [n, class] for the first n pictures of the split.
        classes: Class names in the order of their labels.
        name: What the split is called in the titles.
        suffix: Ending of the file names, before `.png`.

    Returns:
        The files written.

    Raises:
        OutputError: A figure can't be written.
    """
    labels = split.labels[: len(probabilities)]
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), len(classes))

    def pictures(chosen: NDArray[np.int64], file: str, title: str) -> Path:
        images = split.images.read(chosen)
        return draw_predictions(
            images, probabilities[chosen], labels[chosen], classes, folder / f"{file}{suffix}.png", title=title
        )

    sample = np.linspace(0, len(labels) - 1, min(SHOWN, len(labels))).astype(np.int64)
    return [
        draw_confusion_matrix(
            matrix, classes, folder / f"confusion_matrix{suffix}.png", title=f"Confusion matrix, {name} split"
        ),
        draw_class_scores(
            per_class_metrics(matrix),
            classes,
            folder / f"class_scores{suffix}.png",
            title=f"Scores of each class, {name} split",
        ),
        pictures(sample, "sample_predictions", f"Sample predictions, {name} split"),
        pictures(worst_mistakes(probabilities, labels), "worst_mistakes", f"Most confident mistakes, {name} split"),
    ]
