"""The figures of a model card: what the run has drawn, and the calibration before and after the temperature."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.metadata import Metadata
from mlstack.bundle.reference import Reference
from mlstack.errors import OutputError
from mlstack.metrics import CalibrationBins, bins_of_classes, calibration_bins, decided
from mlstack.reports.calibration import draw_calibration_change
from mlstack.reports.guarded import guarded
from mlstack.runs import RunFolder

# What a card shows, in this order, with what stands below it; figures of other names follow.
CAPTIONS = {
    "sample_predictions": "Pictures with what the model says about them",
    "confusion_matrix": "How often which class was taken for which",
    "class_scores": "Scores of each class",
    "label_scores": "Scores of each label",
    "predicted_against_true": "Predicted against true values",
    "residuals": "Residuals",
    "temperature": "How often it is right where it says that it is so sure, before and after calibration",
    "learning_curves": "Learning curves",
}
FROM_RUN = tuple(name for name in CAPTIONS if name != "temperature")


def add_figures(folder: Path, metadata: Metadata, *, run: RunFolder | None, reference: Reference) -> list[Path]:
    """Copy the run's figures into a bundle and draw the calibration beside them.

    Args:
        folder: `figures/` of the bundle; figures that are there already stay.
        metadata: The bundle's facts.
        run: Where the network was trained; None = an ONNX file of one's own.
        reference: Outputs, after the temperature, and labels.

    Returns:
        All figures in the folder, in the order in which a card shows them.

    Raises:
        OutputError: A figure can't be copied.
    """
    if run is not None:
        _copy(run.figures, folder)
    if metadata.temperature is not None and len(reference.labels):
        with guarded("figure temperature could not be drawn"):
            _draw_temperature(folder / "temperature.png", metadata, reference)
    places = {name: place for place, name in enumerate(CAPTIONS)}
    return sorted(folder.glob("*.png"), key=lambda path: (places.get(path.stem, len(places)), path.name))


def _copy(source: Path, folder: Path) -> None:
    try:
        for name in FROM_RUN:
            if (figure := source / f"{name}.png").is_file():
                folder.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(figure, folder / figure.name)
    except OSError as error:
        raise OutputError(f"{source} can't be copied to {folder}: {error.strerror or error}") from error


def _draw_temperature(path: Path, metadata: Metadata, reference: Reference) -> None:
    assert metadata.temperature is not None
    after = reference.outputs[: len(reference.labels)]
    before = without_temperature(after, metadata.temperature, metadata.task)
    bins = [_bins(metadata.task, outputs, reference.labels) for outputs in (before, after)]
    note = f"temperature {metadata.temperature:.3g}; the {len(after):,} pictures of val that reference.npz is about"
    draw_calibration_change(bins[0], bins[1], path, title=f"{metadata.name}: calibration", note=note)


def without_temperature(outputs: NDArray[np.float32], temperature: float, task: str) -> NDArray[np.float64]:
    """The probabilities that the network gave before its logits were divided by the temperature.

    Logarithms of probabilities are the divided logits but for a number that is the same for all classes of a picture,
    which a softmax does not see; so nothing has to be computed anew.

    Args:
        outputs: float32 [n, class or label], probabilities after the temperature.
        temperature: What the logits were divided by, above 0.
        task: `classification` or `multilabel`.

    Returns:
        float64 [n, class or label], 0 to 1.
    """
    exact = np.clip(outputs.astype(np.float64), np.finfo(np.float32).tiny, 1)
    if task == "multilabel":
        rest = np.clip(1 - exact, np.finfo(np.float32).eps, 1)
        powers = np.stack([exact, rest], axis=-1) ** temperature
        applies: NDArray[np.float64] = powers[..., 0] / powers.sum(axis=-1)
        return applies
    logarithms = temperature * np.log(exact)
    powers = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _bins(task: str, outputs: NDArray[np.floating], labels: NDArray[np.generic]) -> CalibrationBins:
    """Decisions by confidence: of each picture, or of each label of each picture."""
    if task == "multilabel":
        says = decided(outputs)
        confidence = np.where(says, outputs, 1 - outputs)
        return calibration_bins(confidence.ravel(), (says == (labels > 0.5)).ravel())  # type: ignore[operator]
    return bins_of_classes(outputs, outputs.argmax(axis=1).astype(np.int64), labels.astype(np.int64))
