"""What quantisation came to, and what its loss is counted in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Quantized:
    """A smaller model file.

    Attributes:
        precision: `int8`, `int8_dynamic` or `fp16`, as a bundle's metadata names it.
        left_out: Names of the ONNX nodes with weights that stay in 32 bits for the score's sake.
        quantized: Layers with weights that became smaller.
        score: Of the file, as `score` measured it.
        details: What else there is to say, as plain numbers and texts for metadata.json; always `drop` in points and
            `size_ratio` to the file in 32 bits.
    """

    precision: str
    left_out: tuple[str, ...]
    quantized: int
    score: float
    details: dict[str, Any]


def points(baseline: float, score: float) -> float:
    """How much worse a score is: in points of accuracy or F1, or in percent of a regression's error.

    Args:
        baseline: Of the network in 32 bits: 0 to 1, or of a regression the mean absolute error times −1.
        score: Of the smaller one, in the same kind.
    """
    drop = (baseline - score) * 100 if baseline >= 0 else (baseline - score) / -baseline * 100
    return drop if drop == drop else float("inf")  # a file that answers NaN has lost everything
