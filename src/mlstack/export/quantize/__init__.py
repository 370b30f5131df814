"""A smaller model file beside the one in 32 bits: calibrated int8, int8 for linear layers, or 16 bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlstack.config.export import QUANTIZE_MODES, QuantizeConfig
from mlstack.errors import ExportError
from mlstack.export.quantize.dynamic import to_dynamic
from mlstack.export.quantize.half import to_half
from mlstack.export.quantize.result import Quantized, points
from mlstack.export.quantize.static import to_int8

__all__ = ["Quantized", "points", "quantize"]


def quantize(
    model: Path,
    output: Path,
    *,
    settings: QuantizeConfig,
    calibration: NDArray[np.uint8],
    score: Callable[[Path], float],
    baseline: float,
) -> Quantized:
    """Write a smaller version of a bundle's model.

    Args:
        model: In 32 bits; takes `images` uint8 [batch, height, width, channel].
        output: The file to write; it is there only where everything went well.
        settings: `quantize.mode` and the rest of that group.
        calibration: uint8 [n, height, width, channel], pictures of the training split.
        score: Measures a file on val: accuracy or F1, 0 to 1, or of a regression the mean absolute error times −1.
        baseline: That measure of `model`.

    Raises:
        ExportError: There is nothing to quantise, or more than `settings.max_drop` points would be lost.
    """
    if settings.mode == "int8":
        return to_int8(model, output, settings=settings, calibration=calibration, score=score, baseline=baseline)
    if settings.mode == "dynamic":
        return to_dynamic(model, output, settings=settings, score=score, baseline=baseline)
    if settings.mode == "fp16":
        return to_half(model, output, settings=settings, calibration=calibration, score=score, baseline=baseline)
    allowed = [mode for mode in QUANTIZE_MODES if mode != "none"]
    raise ExportError(f"quantize.mode={settings.mode} writes no smaller model", allowed=allowed)
