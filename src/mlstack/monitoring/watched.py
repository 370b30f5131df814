"""The quantities of an answer that drift is looked for in, as a row of numbers.

Of every task: brightness and contrast of the picture, and its features seen from a few fixed random directions. Of a
classification: the confidence (the largest probability) and the class; of labels the same with all labels above one
half; of a regression the values.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlstack.bundle.metadata import Metadata
from mlstack.bundle.reference import GREY, Reference

DIRECTIONS = 4
MOST_VALUES = 8  # of a regression: the first ones; each takes a part of the error that a comparison may make
GRID_PIXELS = 1024  # of a picture that are looked at: 224 × 224 cost a tenth of all pixels then
FINEST = 0.01  # of a standard deviation: what is nearer than that counts as equal
CONFIDENCE_STEP, LIGHT_STEP = 0.001, 0.1
HALF_RANGE = float(np.finfo(np.float16).max)  # the reference's features are of 16 bits


@dataclass(frozen=True)
class Answers:
    """Rows of the quantities.

    Attributes:
        numbers: float32 [n, quantity]; rounded, float64.
        classes: int32 [n, 1] places of classes, bool [n, label], or for a regression [n, 0].
    """

    numbers: NDArray[Any]
    classes: NDArray[np.int32] | NDArray[np.bool_]


class Watched:
    """Turns answers into rows.

    Numbers are rounded to steps that are far below any drift. Otherwise a test of ranks would take for a shift what
    another processor or batch size does to a probability of 0.9999999.

    Args:
        reference: Of the bundle.
        metadata: Of the same bundle: its name and version say which directions are taken.

    Attributes:
        names: Of the quantities, in the order of columns.
        reference: The reference's own rows, rounded.
        class_counts: Answers of each class or label in the reference [class], of as many pictures as were counted.
        counted: Those pictures: all that the model was validated on, where the bundle says so.
        labels: Names of classes or labels; of a regression empty.
    """

    def __init__(self, reference: Reference, metadata: Metadata) -> None:
        self.task = metadata.task
        self.labels = () if self.task == "regression" else metadata.classes
        directions = min(DIRECTIONS, metadata.features)
        self._weights = _weights(reference.features, _seed(metadata), directions)
        values = [f"value_{number + 1}" for number in range(min(MOST_VALUES, len(metadata.classes)))]
        answered = values if self.task == "regression" else ["confidence"]
        seen = [f"features_{number + 1}" for number in range(directions)]
        self.names = ("brightness", "contrast", *answered, *seen)
        rows = self.rows(reference.brightness, reference.contrast, reference.outputs, reference.features)
        self._steps = self._steps_of(rows.numbers)
        self.reference = Answers(self.rounded(rows.numbers), rows.classes)
        self.class_counts, self.counted = reference.shares(self.task)

    def rows(
        self,
        brightness: NDArray[np.float32],
        contrast: NDArray[np.float32],
        output: NDArray[np.float32],
        features: NDArray[np.floating],
    ) -> Answers:
        """Rows of n answers, not rounded yet; `output` is [n, answer] and `features` [n, feature]."""
        answered = len(self.names) - 2 - self._weights.shape[1]
        numbers = np.empty((len(output), len(self.names)), np.float32)
        numbers[:, 0], numbers[:, 1] = brightness, contrast
        numbers[:, 2 : 2 + answered] = output[:, :answered] if self.task == "regression" else output.max(1)[:, None]
        halves = features.clip(-HALF_RANGE, HALF_RANGE).astype(np.float16)
        numbers[:, 2 + answered :] = halves.astype(np.float32) @ self._weights
        return Answers(numbers, self._classes(output))

    def rounded(self, numbers: NDArray[Any]) -> NDArray[np.float64]:
        """Rows in whole steps; what is no number counts as 0."""
        return np.round(np.nan_to_num(numbers.astype(np.float64)) / self._steps) * self._steps

    def counts(self, classes: NDArray[np.int32] | NDArray[np.bool_]) -> NDArray[np.int64]:
        """Answers of each class or label [class]."""
        if self.task == "multilabel":
            return np.asarray(classes.sum(axis=0), np.int64)
        return np.asarray(np.bincount(classes[:, 0], minlength=len(self.labels)), np.int64)

    def _classes(self, output: NDArray[np.float32]) -> NDArray[np.int32] | NDArray[np.bool_]:
        if self.task == "classification":
            return np.asarray(output.argmax(axis=1), np.int32)[:, None]
        if self.task == "regression":
            return np.empty((len(output), 0), np.int32)
        return np.asarray(output >= 0.5)

    def _steps_of(self, numbers: NDArray[np.float32]) -> NDArray[np.float64]:
        """A step of each quantity: of those without a scale of their own a share of the reference's deviation."""
        rows = np.nan_to_num(numbers.astype(np.float64)) if len(numbers) else np.zeros((1, numbers.shape[1]))
        steps = np.maximum(FINEST * rows.std(axis=0), 1e-4 * np.abs(rows).mean(axis=0))
        steps = np.where(steps > 0, steps, 1e-6)
        steps[:2] = LIGHT_STEP
        if self.task != "regression":
            steps[2] = CONFIDENCE_STEP
        return steps


def grid_light(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Brightness and contrast as `bundle.reference.light_of`, from a grid of about `GRID_PIXELS` pixels.

    Args:
        images: uint8 [n, height, width, 1 or 3].

    Returns:
        float32 [n] and float32 [n].
    """
    count, height, width, channels = images.shape
    step = math.ceil(math.sqrt(height * width / GRID_PIXELS))
    down, right = min(step, height), min(step, width)
    pixels = images[:, down // 2 :: down, right // 2 :: right]
    floats = pixels.reshape(count, -1, channels).astype(np.float32)
    grey = floats[:, :, 0] if channels == 1 else floats @ GREY
    brightness = grey.sum(axis=1) / np.float32(grey.shape[1])
    grey -= brightness[:, None]
    return brightness, np.sqrt(np.einsum("np,np->n", grey, grey) / np.float32(grey.shape[1]))


def _seed(metadata: Metadata) -> int:
    """The same in every process, another one for each model."""
    return int.from_bytes(hashlib.sha256(f"{metadata.name}\n{metadata.version}".encode()).digest()[:8], "big")


def _weights(features: NDArray[np.float16], seed: int, directions: int) -> NDArray[np.float32]:
    """Random directions float32 [feature, direction], each feature divided by its deviation in the reference.

    The mean variance of all features is added to each variance: a feature that happens to be constant in the reference
    would otherwise drown all others as soon as it moves.
    """
    variances = features.astype(np.float64).var(axis=0) if len(features) else np.ones(features.shape[1])
    scales = np.sqrt(variances + variances.mean())
    random = np.random.default_rng(seed).standard_normal((features.shape[1], directions))
    return (random / np.where(scales > 0, scales, 1)[:, None]).astype(np.float32)
