"""The figures of one run, drawn from its predictions on one split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.datasets.base import Split
from mlstack.metrics import bins_of_classes, confusion_matrix, per_class_metrics, per_label_metrics
from mlstack.reports.calibration import draw_calibration
from mlstack.reports.class_scores import draw_class_scores
from mlstack.reports.confusion_matrix import draw_confusion_matrix
from mlstack.reports.guarded import Drawing
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

    def figure(self, name: str, heading: str, draw: Callable[..., Path], *shown: Any) -> Drawing:
        """A figure of what is `shown`, by a function that takes that, the file and a title."""
        path, title = self.folder / f"{name}{self.suffix}.png", f"{heading}, {self.split_name} split"
        return name, lambda: draw(*shown, path, title=title)

    def pictures(
        self,
        name: str,
        heading: str,
        draw: Callable[..., Path],
        choose: Callable[[NDArray[np.floating], NDArray[Any]], NDArray[np.int64]],
    ) -> Drawing:
        """A grid of the pictures that `choose` picks by outputs and labels, read when it is drawn."""

        def grid(path: Path, *, title: str) -> Path:
            chosen = choose(self.outputs, self.labels)
            images = self.split.images.read(chosen)
            return draw(images, self.outputs[chosen], self.labels[chosen], self.names, path, title=title)

        return self.figure(name, heading, grid)

    def sample(self, draw: Callable[..., Path]) -> Drawing:
        """Pictures at equal distances."""
        return self.pictures("sample_predictions", "Sample predictions", draw, _at_equal_distances)


def _at_equal_distances(outputs: NDArray[np.floating], labels: NDArray[Any]) -> NDArray[np.int64]:
    return np.linspace(0, len(labels) - 1, min(SHOWN, len(labels))).astype(np.int64)


def split_figures(
    folder: Path,
    split: Split,
    outputs: NDArray[np.floating],
    names: Sequence[str],
    *,
    task: str,
    name: str,
    suffix: str = "",
) -> Iterator[Drawing]:
    """What shows how good predictions are, with sample pictures and the worst ones: to be drawn one by one.

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

    Yields:
        Names, and functions that draw and return the file; see `draw_each`.
    """
    labels = split.labels[: len(outputs)]
    yield from _FIGURES[task](_Evaluation(folder, split, outputs, labels, names, name, suffix))


def _classes(seen: _Evaluation) -> list[Drawing]:
    known = np.nan_to_num(seen.outputs, nan=0.0)  # NaN of a network that diverged, as the metrics count it
    decisions = known.argmax(axis=1).astype(np.int64)
    matrix = confusion_matrix(seen.labels, decisions, len(seen.names))
    return [
        seen.figure("confusion_matrix", "Confusion matrix", draw_confusion_matrix, matrix, seen.names),
        seen.figure("class_scores", "Scores of each class", draw_class_scores, per_class_metrics(matrix), seen.names),
        seen.figure("calibration", "Calibration", draw_calibration, bins_of_classes(known, decisions, seen.labels)),
        seen.sample(draw_predictions),
        seen.pictures("worst_mistakes", "Most confident mistakes", draw_predictions, worst_mistakes),
    ]


def _labels(seen: _Evaluation) -> list[Drawing]:
    draw = partial(draw_class_scores, kind="label")
    scores = per_label_metrics(seen.outputs, seen.labels)
    return [
        seen.figure("label_scores", "Scores of each label", draw, scores, seen.names),
        seen.sample(draw_label_predictions),
        seen.pictures("worst_mistakes", "Most confident mistakes", draw_label_predictions, worst_label_mistakes),
    ]


def _values(seen: _Evaluation) -> list[Drawing]:
    numbers = (seen.outputs, seen.labels, seen.names)
    return [
        seen.figure("predicted_against_true", "Predicted against true", draw_predicted_against_true, *numbers),
        seen.figure("residuals", "Residuals", draw_residuals, *numbers),
        seen.sample(draw_value_predictions),
        seen.pictures("worst_misses", "Greatest misses", draw_value_predictions, worst_misses),
    ]


_FIGURES = {"classification": _classes, "multilabel": _labels, "regression": _values}
