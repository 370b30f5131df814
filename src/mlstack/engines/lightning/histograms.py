"""Histograms of the weights, once an epoch, for the trackers that can show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.callbacks import Callback
from torch import nn

BINS = 64


@dataclass(frozen=True)
class Histogram:
    """How the finite values of one parameter are spread.

    Attributes:
        counts: int64 [bin].
        edges: float64 [bin + 1].
        total: Sum of the values.
        squares: Sum of their squares.
    """

    counts: NDArray[np.int64]
    edges: NDArray[np.float64]
    total: float
    squares: float


@runtime_checkable
class ShowsHistograms(Protocol):
    """A tracker that has a place for them."""

    def record_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None: ...


class WeightHistograms(Callback):
    """`tracker_histograms=true`: record them at the end of each epoch. Without this callback they cost nothing."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        log_histograms(trainer.loggers, pl_module, step=trainer.global_step)


def log_histograms(trackers: Iterable[object], network: nn.Module, *, step: int) -> None:
    """Send histograms of all parameters to the trackers that show them; on ranks without a tracker, nothing is done.

    Args:
        trackers: From `build_trackers`.
        network: Whose parameters are counted.
        step: Optimizer steps taken.
    """
    showing = [tracker for tracker in trackers if isinstance(tracker, ShowsHistograms)]
    if not showing:
        return
    histograms = {
        name: histogram(parameter.detach().float().cpu().numpy().ravel())
        for name, parameter in network.named_parameters()
    }
    for tracker in showing:
        tracker.record_histograms({name: one for name, one in histograms.items() if one is not None}, step)


def histogram(values: NDArray[np.float32]) -> Histogram | None:
    """Count values (float32 [n]) in equal bins; NaN and infinity are left out, and None means that nothing is left."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return None
    counts, edges = np.histogram(finite, bins=BINS)
    return Histogram(counts, edges, float(finite.sum()), float(np.square(finite).sum()))
