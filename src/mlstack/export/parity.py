"""Whether a bundle answers as the network in its framework does."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MARGIN = 1e-4  # between the network's own two best probabilities, or from 0.5: nearer than that, either may come first


@dataclass(frozen=True)
class Parity:
    """How near two sets of answers for the same pictures are.

    Attributes:
        images: How many pictures.
        relative_error: The larger one of the next two.
        output_error: Greatest difference of probabilities, relative to the largest of them; of a regression the
            greatest over its targets, each relative to its own largest value.
        feature_error: Greatest difference of features, relative to the largest of them.
        agreement: Share of decisions that are the same: classes of pictures, or labels of pictures; None of numbers.
        clear: Decisions where the network's own margin is at least `MARGIN`.
        agreement_clear: Share of these that are the same; None where there is none.
    """

    images: int
    relative_error: float
    output_error: float
    feature_error: float
    agreement: float | None
    clear: int
    agreement_clear: float | None

    def facts(self) -> dict[str, Any]:
        """As metadata.json says it."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def failure(self, max_error: float) -> str | None:
        """What is wrong, in one line; None where nothing is."""
        if not self.relative_error <= max_error:  # not >: NaN is no agreement
            where = "features" if not self.feature_error <= self.output_error else "answers"
            return f"relative error {self.relative_error:.2g} in its {where}, allowed {max_error:g}"
        if self.agreement_clear is not None and self.agreement_clear < 1:
            others = round((1 - self.agreement_clear) * self.clear)
            return f"{others:,} of {self.clear:,} clear decisions are other ones"
        return None


def compare(
    expected: NDArray[np.floating],
    expected_features: NDArray[np.floating],
    output: NDArray[np.floating],
    features: NDArray[np.floating],
    *,
    task: str,
) -> Parity:
    """Compare a bundle with the network that it was made of.

    Args:
        expected: float [n, answer], the network's probabilities or values.
        expected_features: float [n, feature], the network's.
        output: float [n, answer], the bundle's.
        features: float [n, feature], the bundle's.
        task: `data.task`.
    """
    by_target = task == "regression"
    output_error = _relative_error(expected, output, axis=0 if by_target else None)
    feature_error = _relative_error(expected_features, features)
    same, clear = _decisions(expected, output, task)
    return Parity(
        images=len(output),
        relative_error=float(np.maximum(output_error, feature_error)),  # NaN where one of them is
        output_error=output_error,
        feature_error=feature_error,
        agreement=float(same.mean()) if same.size else None,
        clear=int(clear.sum()),
        agreement_clear=float(same[clear].mean()) if clear.any() else None,
    )


def _relative_error(expected: NDArray[np.floating], found: NDArray[np.floating], axis: int | None = None) -> float:
    scale = np.abs(expected).max(axis=axis)
    difference = np.abs(expected.astype(np.float64) - found).max(axis=axis)
    return float(np.max(difference / np.where(scale > 0, scale, 1.0)))


def _decisions(
    expected: NDArray[np.floating], output: NDArray[np.floating], task: str
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which decisions are the same, and which are clear: bool [decision] each."""
    if task == "regression":
        return np.empty(0, np.bool_), np.empty(0, np.bool_)
    if task == "multilabel":
        same = (expected >= 0.5) == (output >= 0.5)
        return same.ravel(), (np.abs(expected - 0.5) >= MARGIN).ravel()
    best = np.partition(expected, -2, axis=1)[:, -2:] if expected.shape[1] > 1 else np.pad(expected, ((0, 0), (1, 0)))
    return expected.argmax(axis=1) == output.argmax(axis=1), best[:, 1] - best[:, 0] >= MARGIN
