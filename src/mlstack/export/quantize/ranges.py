"""Between which values an activation lies: what its 256 steps of int8 have to cover.

ONNX Runtime's own calibration is not used: it holds the activations of all pictures at once, and its entropy method
compares one candidate only (128 bins for 128 levels: `get_entropy_threshold` in onnxruntime/quantization/calibrate.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from mlstack.errors import ExportError
from mlstack.export.quantize.feeding import answers, with_outputs

BINS = 2048  # of a histogram, as NVIDIA's and ONNX Runtime's calibrations have
PERCENTILE = 99.99  # of the values lie inside the range that `percentile` finds
CANDIDATE_STEP = 16  # bins between two ranges that `entropy` compares
NUMBERS_A_TENSOR = 2**15  # that a batch adds to a histogram; all of them take minutes

Range = tuple[float, float]


def activation_ranges(
    model: onnx.ModelProto, tensors: Sequence[str], images: NDArray[np.uint8], *, method: str
) -> dict[str, Range]:
    """Lower and upper end of each tensor's range. Memory holds the activations of one small batch.

    Args:
        model: Takes `images`; its inner tensors' shapes are known.
        tensors: Names of float tensors in it.
        images: uint8 [n, height, width, channel].
        method: `minmax`: all values seen; `entropy`: the part that keeps most information
            (https://on-demand.gputechconf.com/gtc/2017/presentation/s7310-8-bit-inference-with-tensorrt.pdf);
            `percentile`: all but 1 in 10,000.

    Raises:
        ExportError: The network computes NaN or infinity.
    """
    watched = with_outputs(model, tensors)
    extremes = _extremes(watched, images)
    if method == "minmax":
        return dict(zip(tensors, extremes, strict=True))
    histograms = _histograms(watched, images, extremes, absolute=method == "entropy")
    find = {"entropy": entropy_range, "percentile": percentile_range}[method]
    found = (find(counts, ends) for counts, ends in zip(histograms, extremes, strict=True))
    return dict(zip(tensors, found, strict=True))


def percentile_range(counts: NDArray[np.int64], ends: Range) -> Range:
    """The range without the rarest values on either side.

    Args:
        counts: int64 [bin], a histogram between both ends.
        ends: The least and the greatest value.
    """
    edges = np.linspace(*ends, len(counts) + 1)
    share = np.cumsum(counts) / max(1, counts.sum())
    outside = (1 - PERCENTILE / 100) / 2
    lower = edges[int(np.searchsorted(share, outside, side="right"))]
    upper = edges[min(len(counts), int(np.searchsorted(share, 1 - outside)) + 1)]
    return float(lower), float(upper)


def entropy_range(counts: NDArray[np.int64], ends: Range) -> Range:
    """The range after whose quantisation the distribution differs least from what it was (Kullback-Leibler).

    Args:
        counts: int64 [bin], a histogram of absolute values from 0 to the greatest.
        ends: The least and the greatest value.
    """
    levels = 256 if ends[0] >= 0 else 128  # of int8's 256, those for one sign
    bins = counts.astype(np.float64)
    bins[0] = bins[1]  # after ReLU half of all values are 0, which any range keeps
    stops = range(levels, len(bins) + 1, CANDIDATE_STEP)
    best = min(stops, key=lambda stop: _divergence(bins, stop, levels))
    limit = max(abs(ends[0]), abs(ends[1])) * best / len(bins)
    return max(ends[0], -limit), min(ends[1], limit)


def _divergence(bins: NDArray[np.float64], stop: int, levels: int) -> float:
    """How far bins [: stop], merged into `levels`, are from all bins with those beyond `stop` clipped to it."""
    inside = bins[:stop]
    clipped = inside.copy()
    clipped[-1] += bins[stop:].sum()
    level = np.arange(stop) * levels // stop
    mass = np.bincount(level, inside, levels)
    filled = np.bincount(level, inside > 0, levels)
    merged = np.where(inside > 0, mass[level] / np.maximum(filled[level], 1), 0)
    if not (total := clipped.sum()) or not (kept := merged.sum()):
        return float("inf")
    p, q = clipped / total, np.maximum(merged / kept, 1e-12)
    there = p > 0
    return float((p[there] * np.log(p[there] / q[there])).sum())


def _extremes(model: onnx.ModelProto, images: NDArray[np.uint8]) -> list[Range]:
    count = len(model.graph.output)
    lows, highs = np.full(count, np.inf), np.full(count, -np.inf)
    for outputs in answers(model, images):
        lows = np.minimum(lows, [values.min() for values in outputs])
        highs = np.maximum(highs, [values.max() for values in outputs])
    if not (np.isfinite(lows).all() and np.isfinite(highs).all()):
        raise ExportError("the network computes NaN or infinity on the calibration images: int8 has no range for these")
    return [(float(low), float(high)) for low, high in zip(lows, highs, strict=True)]


def _histograms(
    model: onnx.ModelProto, images: NDArray[np.uint8], extremes: Sequence[Range], *, absolute: bool
) -> list[NDArray[np.int64]]:
    histograms = [np.zeros(BINS, np.int64) for _ in extremes]
    for outputs in answers(model, images):
        for counts, values, (low, high) in zip(histograms, outputs, extremes, strict=True):
            step = max(1, values.size // NUMBERS_A_TENSOR) | 1  # odd: an even one could meet the same columns only
            some = values.reshape(-1)[::step]
            if absolute:
                some, low, high = np.abs(some), 0.0, max(abs(low), abs(high))
            counts += np.histogram(some, BINS, (low, high))[0]
    return histograms
