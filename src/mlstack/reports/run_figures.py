"""The figures of one run, drawn from its predictions on one split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.datasets.base import Split
from mlstack.metrics import bins_of_classes, confusion_matrix, per_class_metrics, per_label_metrics
from mlstack.reports.calibration import draw_calibration
from mlstack.reports.class_scores import draw_class_scores
from mlstack.reports.confusion_matrix import draw_confusion_matrix
from mlstack.reports.label_pictures import draw_label_predictions, worst_label_mistakes
from mlstack.reports.picture_grid import SHOWN
from mlstack.reports.pictures import draw_predictions, worst_mistakes
from mlstack.reports.regression import draw_predicted_against_true, draw_residuals
from mlstack.reports.value_pictures import draw_value_predictions, worst_misses


@dataclass(frozen=True)
class _Evaluation:
    """One split with what the network says about its first pictures: see `draw_split`."""

    folder: Path
    split: Split
    outputs: NDArray[np.floating]
    labels: NDArray[Any]
    names: Sequence[str]
    split_name: str
    suffix: str

    def file(self, name: str) -> Path:
        return self.folder / f"{name}{self.suffix}.png"

    def title(self, what: str) -> str:
        return f"{what}, {self.split_name} split"

    def pictures(self, draw: Callable[..., Path], chosen: NDArray[np.int64], file: str, what: str) -> Path:
        """A grid of the pictures at `chosen`, by one of the functions that take images, outputs, labels and names."""
        images = self.split.images.read(chosen)
        return draw(
            images, self.outputs[chosen], self.labels[chosen], self.names, self.file(file), title=self.title(what)
        )

    def sample(self, draw: Callable[..., Path]) -> Path:
        """Pictures at equal distances."""
        chosen = np.linspace(0, len(self.labels) - 1, min(SHOWN, len(self.labels))).astype(np.int64)
        return self.pictures(draw, chosen, "sample_predictions", "Sample predictions")


def draw_split(
    folder: Path,
    split: Split,
    outputs: NDArray[np.floating],
    names: Sequence[str],
    *,
    task: str,
    name: str,
    suffix: str = "",
) -> list[Path]:
    """Draw what shows how good predictions are, with sample pictures and the worst ones.

    classification: confusion matrix, scores of each class, calibration; multilabel: scores of each label;
    regression: predicted against true values, residuals.

    Args:
        folder: Where the PNGs go.
        split: The pictures with their labels; may hold more than were predicted.
        outputs: For the first n pictures of the split, float [n, class], [n, label] or [n, target]: see `Predictions`.
        names: Names of the classes, labels or targets.
        task: `data.task`.
        name: What the split is called in the titles.
        suffix: Ending of the file names, before `.png`.

    Returns:
        The files written.

    Raises:
        OutputError: A figure can't be written.
    """
    labels = split.labels[: len(outputs)]
    return _DRAW[task](_Evaluation(folder, split, outputs, labels, names, name, suffix))


def _draw_classes(seen: _Evaluation) -> list[Path]:
    known = np.nan_to_num(seen.outputs, nan=0.0)  # NaN of a network that diverged, as the metrics count it
    decisions = known.argmax(axis=1).astype(np.int64)
    matrix = confusion_matrix(seen.labels, decisions, len(seen.names))
    bins = bins_of_classes(known, decisions, seen.labels)
    return [
        draw_confusion_matrix(matrix, seen.names, seen.file("confusion_matrix"), title=seen.title("Confusion matrix")),
        draw_class_scores(
            per_class_metrics(matrix), seen.names, seen.file("class_scores"), title=seen.title("Scores of each class")
        ),
        draw_calibration(bins, seen.file("calibration"), title=seen.title("Calibration")),
        seen.sample(draw_predictions),
        seen.pictures(
            draw_predictions,
            worst_mistakes(seen.outputs, seen.labels),
            "worst_mistakes",
            "Most confident mistakes",
        ),
    ]


def _draw_labels(seen: _Evaluation) -> list[Path]:
    scores = per_label_metrics(seen.outputs, seen.labels)
    title = seen.title("Scores of each label")
    worst = worst_label_mistakes(seen.outputs, seen.labels)
    return [
        draw_class_scores(scores, seen.names, seen.file("label_scores"), title=title, kind="label"),
        seen.sample(draw_label_predictions),
        seen.pictures(draw_label_predictions, worst, "worst_mistakes", "Most confident mistakes"),
    ]


def _draw_values(seen: _Evaluation) -> list[Path]:
    numbers = (seen.outputs, seen.labels, seen.names)
    worst = worst_misses(seen.outputs, seen.labels)
    return [
        draw_predicted_against_true(
            *numbers, seen.file("predicted_against_true"), title=seen.title("Predicted against true")
        ),
        draw_residuals(*numbers, seen.file("residuals"), title=seen.title("Residuals")),
        seen.sample(draw_value_predictions),
        seen.pictures(draw_value_predictions, worst, "worst_misses", "Greatest misses"),
    ]


_DRAW = {"classification": _draw_classes, "multilabel": _draw_labels, "regression": _draw_values}
