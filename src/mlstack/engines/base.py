"""The contract between a training framework and the rest of the house."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mlstack.config import Config
from mlstack.datasets import Dataset
from mlstack.datasets.base import Batch
from mlstack.runs import RunFolder


class BatchSource(Protocol):
    """Batches in a fixed order: a `BatchLoader` of `datasets/loader.py`, or the files of a prediction."""

    def __len__(self) -> int: ...

    def batch(self, epoch: int, step: int) -> Batch: ...


@dataclass(frozen=True)
class Predictions:
    """What a network says about pictures.

    Attributes:
        probabilities: float32 [n, class].
        labels: int64 [n]; what the source says they are.
        indices: int64 [n], positions in the source.
    """

    probabilities: NDArray[np.float32]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The likeliest class of each picture, int64 [n]."""
        likeliest: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return likeliest


@dataclass(frozen=True)
class RunResult:
    """What training came to.

    Attributes:
        is_main: Whether this process is the one that writes (rank 0 of several).
        epochs: Epochs that were trained.
        steps: Optimizer steps that were taken.
        best_epoch: Epoch of the best checkpoint, counted from 0; None without a validation.
        best_score: The monitored metric there.
        images_per_second: Training images a second over all devices, validation not counted.
        train_seconds: Wall time of `fit`, validation and checkpoints included.
        peak_memory_mb: Most memory held, by the process or on the device, in MiB.
        gpu_utilization: How busy the GPU was, 0 to 1; None on a CPU.
        parameters: Parameters of the network, trainable and frozen.
        device: What it ran on, in words.
        stopped_early: Whether early stopping ended it.
    """

    is_main: bool
    epochs: int
    steps: int
    best_epoch: int | None
    best_score: float | None
    images_per_second: float
    train_seconds: float
    peak_memory_mb: float
    gpu_utilization: float | None
    parameters: int
    device: str
    stopped_early: bool


class Engine(Protocol):
    """One engine, one run."""

    def fit(self, config: Config, dataset: Dataset, run: RunFolder) -> RunResult:
        """Train, validate, and leave checkpoints and metrics.csv in the run folder.

        Args:
            config: All settings; derived ones are filled in.
            dataset: The data with its splits.
            run: An existing run folder.

        Raises:
            HardwareError: A device that isn't there.
            ConfigError: A network that doesn't fit the data.
        """
        ...

    def predict(self, config: Config, source: BatchSource, *, run: RunFolder, checkpoint: str = "best") -> Predictions:
        """Probabilities for every picture of a source, in its order, on one device.

        Args:
            config: The run's settings; `trainer.accelerator` and `data.num_workers` may differ from the training's.
            source: Pictures in batches.
            run: The run folder that holds the weights.
            checkpoint: `best` or `last`; a run that kept none answers with the weights that `fit` left in memory.
        """
        ...

    def check(self, config: Config) -> None:
        """Refuse devices and precisions that this machine does not have, before data are loaded.

        Raises:
            HardwareError: Naming what is there and what to type instead.
        """
        ...
